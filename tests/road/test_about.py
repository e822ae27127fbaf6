"""A run knows its program, source, packages and nodes, and none of it holds a secret."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

import disttrack
from tests.road.site import TORCHRUN, Site


def test_a_run_knows_what_started_it(site: Site) -> None:
    script = site.script(
        "import disttrack\nwith disttrack.init(project='p', id='a') as run:\n    run.log({'loss': 1})\n"
    )
    site.python(script, "--lr", "0.1", env={"OMP_NUM_THREADS": "3"})
    with disttrack.Api(site.directory) as api:
        run = api.run("a")
        about, nodes, captured = run.about, run.nodes, run.captured
    program = about["program"]
    assert program["argv"] == [str(script), "--lr", "0.1"]
    assert (program["program"], program["cwd"]) == (str(script), str(site.directory))
    assert program["python"] == ".".join(map(str, sys.version_info[:3]))
    environment = program["environment"]
    assert isinstance(environment, dict)
    assert environment["OMP_NUM_THREADS"] == "3"
    assert "numpy" in about["packages"]
    assert "source" not in about  # it lies in no repository
    [node] = nodes
    assert (node.ranks, node.host) == ([0], about["host"])
    assert node.host["cpus"] == os.cpu_count()
    assert captured.logged == captured.stored > 0
    assert run.receipt.logged == run.receipt.stored == 1


@pytest.mark.real(timeout_s=120)
def test_what_is_changed_in_the_repository_is_kept_with_save_code_only(
    site: Site, require_program: Callable[[str], str]
) -> None:
    git = [require_program("git"), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    site.run(*git, "init", "-q")
    script = site.script(
        "import disttrack, sys\nwith disttrack.init(save_code=len(sys.argv) > 1, id=str(len(sys.argv))): 0\n"
    )
    site.run(*git, "add", "train.py")
    site.run(*git, "commit", "-q", "-m", "first")
    script.write_text(script.read_text() + "changed = 1\n")
    site.python(script)
    site.python(script, "--save")
    with disttrack.Api(site.directory) as api:
        sources = [api.run(run_id).about["source"] for run_id in ("1", "2")]
        assert [file.path for file in api.run("2").files()] == ["code/train.py"]
    assert [source["dirty"] for source in sources] == [True, True]
    assert "diff" not in sources[0]
    assert "+changed = 1" in str(sources[1]["diff"])


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize("together", [True, False], ids=["side by side", "each begins when the one before has ended"])
def test_each_rank_tells_of_its_program_and_one_of_the_node(site: Site, together: bool) -> None:
    script = site.script(
        f"""
        import os, pathlib, time
        before = pathlib.Path(f"done-{{int(os.environ['RANK']) - 1}}")
        while not ({together} or before.name == "done--1" or before.exists()):
            time.sleep(0.02)
        import disttrack
        run = disttrack.init(project="p", id="a")
        while run.log({{"loss": 1}}) is None and run._recorder.sender.welcome is None:
            time.sleep(0.1)  # until the writer is there: it knows who was first
        run.finish()
        pathlib.Path(f"done-{{run.rank}}").touch()
        """
    )
    site.torchrun(3, script)
    with disttrack.Api(site.directory) as api:
        record = api.run("a")._run.record  # pyright: ignore[reportPrivateUsage]
    told = [set(source.about) for source in record.sources if source.role == "rank"]
    assert ["program" in sections for sections in told] == [True] * 3
    for section in ("host", "packages"):
        assert sum(section in sections for sections in told) == 1


@pytest.mark.real(timeout_s=120)
def test_each_attempt_is_told_of_its_node_anew(site: Site) -> None:
    script = site.script(
        """
        import os, disttrack
        run = disttrack.init(project="p", id="a")
        run.log({"loss": 1})
        run._recorder.sender.welcomed.wait()
        assert run.id == "a" and run.attempt == int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        if run.attempt == 0:
            raise SystemExit(3)
        """
    )
    site.run(*TORCHRUN, 2, "--max-restarts", 1, script)
    with disttrack.Api(site.directory) as api:
        record = api.run("a")._run.record  # pyright: ignore[reportPrivateUsage]
    attempts = [source.attempt for source in record.sources if source.role == "rank" and "host" in source.about]
    assert attempts.count(0) <= 1  # torchrun may have ended that rank before it had told
    assert attempts.count(1) == 1


def test_a_rank_that_fails_at_once_is_known_all_the_same(site: Site) -> None:
    site.python(site.script("import disttrack\ndisttrack.init(project='p', id='a')\nraise SystemExit(3)\n"), code=3)
    with disttrack.Api(site.directory) as api:
        assert {"host", "packages", "program"} <= api.run("a").about.keys()


def test_a_program_with_odd_names_is_told_of(site: Site) -> None:
    place = site.directory / os.fsdecode(b"caf\xe9")
    try:
        place.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    script = place / "train.py"
    script.write_text("import disttrack\nwith disttrack.init(project='p', id='a') as run:\n    run.log({'a': 1})\n")
    site.python(script, os.fsdecode(b"\xff"))
    with disttrack.Api(site.directory) as api:
        assert "caf" in str(api.run("a").about["program"]["program"])
