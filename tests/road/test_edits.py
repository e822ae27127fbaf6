"""What people change after the fact: in the log itself, so that no index is needed to remember it."""

import os
import sys
from pathlib import Path

import pytest

import disttrack
from disttrack.errors import RunNotFound, UsageError
from tests.conftest import writers
from tests.road.site import Site, wait_until


@pytest.fixture
def run_id(site: Site) -> str:
    site.python(
        site.script(
            """
            import disttrack
            with disttrack.init(project="p", id="mine", name="given", tags=["old"]) as run:
                run.log({"a": 1})
            """
        )
    )
    return "mine"


def forget_index(site: Site) -> None:
    for path in site.root.glob("index*"):
        path.unlink()


def test_a_persons_word_beats_the_programs_with_any_index(site: Site, run_id: str) -> None:
    assert site.ls()[0]["name"] == "given"
    site.cli("rename", run_id, "renamed é")
    site.cli("tag", run_id, "+best", "new", "-old")
    site.cli("note", run_id, "two\nlines")
    for _ in range(2):
        (run,) = site.ls()
        assert (run["name"], run["tags"], run["notes"]) == ("renamed é", ["best", "new"], "two\nlines")
        assert (run["state"], run["ended_at"] is not None) == ("finished", True)
        forget_index(site)
    site.cli("note", run_id, "")
    assert site.ls()[0]["notes"] is None


def test_an_archived_run_leaves_lists_and_still_answers(site: Site, run_id: str) -> None:
    site.cli("archive", run_id)
    assert site.ls() == []
    assert "mine" in site.cli("ls", "--archived")
    assert site.show(run_id)["archived"]
    site.cli("archive", run_id, "--undo")
    assert [run["id"] for run in site.ls()] == [run_id]


def test_a_deleted_run_answers_nobody_until_it_is_restored(site: Site, run_id: str) -> None:
    site.ls()
    assert "Would delete p/mine" in site.cli("rm", run_id)
    assert len(site.ls()) == 1
    site.cli("rm", run_id, "--yes")
    for _ in range(2):
        assert site.ls() == []
        site.cli("show", run_id, code=1)
        forget_index(site)
    assert "Restored p/mine" in site.cli("restore", run_id)
    assert site.show(run_id)["summary"] == {"a": 1}
    site.cli("restore", run_id, code=1)


@pytest.mark.real(timeout_s=120)
def test_the_id_of_a_deleted_run_is_never_given_again(site: Site, run_id: str) -> None:
    site.cli("rm", run_id, "--yes")
    again = site.script(
        """
        import os, time, disttrack, disttrack.api.resuming
        disttrack.api.resuming.LOOK_S = 100.0  # however slow the machine is: else its writer refuses it, and not init
        try:
            disttrack.init(project="p", id="mine")
        except disttrack.errors.RunDeleted:
            print("refused")
        # A rank that is not the primary looks at nothing: its writer does.
        place = {"rank": 1, "world_size": 2, "local_rank": 0, "finish_timeout_s": 1}
        run = disttrack.init(project="p", id="mine", settings=place)
        run.log({"a": 2})
        while not os.path.exists("go"): time.sleep(0.02)
        print(run.finish())
        """
    )
    process = site.start(sys.executable, "-u", again)
    assert process.stdout is not None
    assert "refused" in process.stdout.readline()
    output = process.stdout.readline()  # of the writer that comes, however late
    (site.directory / "go").touch()
    output += process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert "was deleted" in output
    assert "1 pending" in output
    wait_until(lambda: not list(writers(Path(os.environ["DISTTRACK_RUNTIME_DIR"]))), "the writer goes")
    assert site.ls() == []  # it waits, and is in nobody's way
    site.cli("restore", run_id)
    assert site.show(run_id)["attempt"] == 1  # what waited in the journal came home


def test_a_running_run_is_edited_but_not_deleted(site: Site) -> None:
    script = site.script(
        """
        import os, time, disttrack
        with disttrack.init(project="p", id="live") as run:
            step = 0
            while not os.path.exists("stop"):
                run.log({"a": step}); step += 1
                time.sleep(0.01)
        """
    )
    process = site.start(sys.executable, script)
    wait_until(lambda: bool(site.ls()), "the run is there")
    site.cli("tag", "live", "watched")
    site.cli("rm", "live", "--yes", code=2)
    rows = site.show("live")["ranks"][0]["rows"]
    wait_until(lambda: site.show("live")["ranks"][0]["rows"] > rows, "it goes on")
    (site.directory / "stop").touch()
    output, _ = process.communicate(timeout=300)
    assert (process.returncode, output) == (0, "")
    run = site.only_run()
    assert (run["tags"], run["state"], run["receipt"]["pending"]) == (["watched"], "finished", 0)
    assert site.steps("live", "a")[0] == list(range(run["ranks"][0]["rows"]))


def test_the_same_from_python(site: Site, run_id: str) -> None:
    with disttrack.Api(site.directory) as api:
        run = api.run(run_id).edit(name="other", add_tags=["x"], notes="n")
        assert (run.name, run.tags, run.notes) == ("other", ["old", "x"], "n")
        with pytest.raises(UsageError, match="changes nothing"):
            run.edit()
        with pytest.raises(UsageError, match="empty"):
            run.edit(name="")
        run.delete()
        with pytest.raises(RunNotFound):
            api.run(run_id)
        assert api.restore("p/mine").name == "other"
    assert os.environ.get("DISTTRACK_PARENT") is None
