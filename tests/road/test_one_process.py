"""One process by itself: the same road, and what init, log and finish promise there."""

import math
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from disttrack.writer.choice import ALONE_S
from disttrack.writer.serving import LINGER_S
from tests.conftest import PATIENCE, writers
from tests.faults.jobs import the_writer
from tests.road.site import Site, wait_until


def test_ten_runs_in_a_loop_are_ten_finished_runs_and_leave_nothing_running(site: Site) -> None:
    script = site.script(
        """
        import disttrack
        for number in range(10):
            run = disttrack.init(project="sweep", name=f"run {number}", config={"number": number})
            run.log({"square": number**2})
            assert run.finish().stored == 2
        """
    )
    site.python(script)
    runs = site.ls()
    assert {(run["name"], run["state"], run["summary"]["square"]) for run in runs} == {
        (f"run {number}", "finished", number**2) for number in range(10)
    }
    wait_until(lambda: not running_writers(), "the writer ends")
    assert not list((site.directory / "journals").rglob("*.dtj"))
    runtime = Path(os.environ["DISTTRACK_RUNTIME_DIR"])
    assert {path.parent.name for path in runtime.rglob("*") if not path.is_dir()} == {"journal-places"}


def test_one_writer_serves_all_runs_of_a_script_and_no_child_is_left_to_reap(site: Site) -> None:
    script = site.script(
        """
        import json, os, pathlib, disttrack, psutil
        pids = set()
        for number in range(3):
            with disttrack.init(project="p") as run:
                run.log({"a": 1})
                run._recorder.sender.welcomed.wait()
                claims = pathlib.Path(os.environ["DISTTRACK_RUNTIME_DIR"]).glob("claims/*.json")
                pids |= {json.loads(record.read_bytes())["pid"] for record in claims}
        assert len(pids) == 1, pids
        assert psutil.Process().children() == []
        """
    )
    site.python(script)


@pytest.mark.parametrize(
    ("ending", "code", "state"),
    [
        ("run.finish()", 0, "finished"),
        ("pass", 0, "finished"),
        ("run.finish(exit_code=3)", 0, "failed"),
        ("import sys; sys.exit(4)", 4, "failed"),
        ("raise RuntimeError('boom')", 1, "failed"),
        ("import os; os._exit(0)", 0, "crashed"),
        ("import os; os.kill(os.getpid(), 9)", -9, "crashed"),
    ],
)
def test_the_state_says_how_the_process_ended_and_no_row_is_lost(
    site: Site, ending: str, code: int, state: str
) -> None:
    site.python(
        site.script(
            f"""
            import disttrack
            run = disttrack.init(project="p")
            for step in range(1000):
                run.log({{"a": step}})
            {ending}
            """
        ),
        code=code,
    )
    run = site.only_run()
    assert (run["state"], run["ranks"][0]["rows"], run["receipt"]["pending"]) == (state, 1000, 0)
    assert site.steps(run["id"], "a") == {0: list(range(1000))}


def test_an_exception_in_a_with_block_marks_the_run_as_failed_and_goes_on_to_the_caller(site: Site) -> None:
    script = site.script(
        """
        import disttrack
        try:
            with disttrack.init(project="p") as run:
                run.log({"a": 1})
                raise ValueError("boom")
        except ValueError:
            print("caught")
        """
    )
    assert "caught" in site.python(script)
    assert site.only_run()["state"] == "failed"


def test_every_kind_of_value_comes_back_as_it_was_logged(site: Site) -> None:
    script = site.script(
        """
        import disttrack
        with disttrack.init(project="p") as run:
            run.log({"nan": float("nan"), "inf": float("inf"), "ninf": float("-inf"), "zero": -0.0, "third": 1 / 3,
                     "int": 2**62 + 1, "big": 10**40, "yes": True, "none": None, "text": "é\\n\\ud800",
                     "list": [1, 2.5, "x"], "nested": {"a": {"b": 1}}, 5: "not a str", "object": object()})
        """
    )
    site.python(script)
    rows = {row["key"]: (row["value"], row["type"]) for row in site.export(site.only_run()["id"])}
    assert rows == {
        "nan": ("NaN", "float"),
        "inf": ("Infinity", "float"),
        "ninf": ("-Infinity", "float"),
        "zero": (-0.0, "float"),
        "third": (1 / 3, "float"),
        "int": (2**62 + 1, "int"),
        "big": (10**40, "int"),
        "yes": (True, "bool"),
        "none": (None, "null"),
        "text": ("é\n\\ud800", "str"),
        "list": ([1, 2.5, "x"], "json"),
        "nested.a.b": (1, "int"),
    }
    assert math.copysign(1, rows["zero"][0]) == -1


def test_nothing_logged_raises_and_each_cause_is_said_once(site: Site) -> None:
    script = site.script(
        """
        import disttrack
        run = disttrack.init(project="p")
        cycle = {}; cycle["self"] = cycle
        for odd in [None, 5, "text", [1], {1: 2}, {"o": object()}, cycle, {"a": {1: 2}}, {"x" * 10**6: 1}, {}] * 2:
            run.log(odd)
        run.log({"a": 1}, step="x"); run.log({"a": 1}, step=2.5); run.log({"a": 1}, step=10**30)
        run.log({"good": 1, "bad": object()}, step=7)
        receipt = run.finish()
        run.log({"late": 1}); run.log({"late": 1})
        print(receipt.logged, receipt.stored, receipt.dropped)
        """
    )
    output = site.python(script)
    logged, stored, dropped = map(int, output.splitlines()[-1].split())
    assert logged == stored + dropped == 24
    assert dropped == 11
    assert output.count("takes a dict") == 4
    assert output.count("after finish()") == 1
    run = site.only_run()
    assert run["receipt"]["dropped"] == 11
    assert site.steps(run["id"], "good") == {0: [7]}


def test_log_before_init_says_which_line_to_add(site: Site) -> None:
    output = site.python(site.script("import disttrack\ndisttrack.log({'a': 1})\n"), code=1)
    assert "NotInitialized" in output
    assert "disttrack.init(" in output


def test_module_level_calls_use_the_open_run(site: Site) -> None:
    script = site.script(
        """
        import disttrack
        disttrack.init(project="p", config={"a": 1}, tags="one", notes="n", name="named", id="my id")
        disttrack.log({"loss": 2.0}); disttrack.log({"loss": 1.0})
        disttrack.config.update({"b": 2}); disttrack.summary["best"] = 1.5
        assert disttrack.summary["loss"] == 1.0 and disttrack.config.b == 2 and disttrack.run.id == "my id"
        print(disttrack.finish())
        """
    )
    assert "5 records logged: 5 stored" in site.python(script)
    run = site.only_run()
    assert (run["id"], run["name"], run["tags"], run["notes"]) == ("my id", "named", ["one"], "n")
    assert run["config"] == {"a": 1, "b": 2}
    assert run["summary"] == {"loss": 1.0, "best": 1.5}


def test_the_same_id_again_is_the_next_attempt_and_overwrites_nothing(site: Site) -> None:
    script = site.script(
        """
        import disttrack
        with disttrack.init(project="p", id="same") as run:
            run.log({"a": 1})
            run._recorder.sender.welcomed.wait()
            print("attempt", run.attempt)
        """
    )
    assert "attempt 0" in site.python(script)
    assert "attempt 1" in site.python(script)
    run = site.only_run()
    assert (run["id"], run["attempt"], run["state"]) == ("same", 1, "finished")
    assert sorted(row["attempt"] for row in site.export("same", "--superseded")) == [0, 1]
    assert [row["attempt"] for row in site.export("same")] == [1]


def test_disabled_mode_writes_nothing(site: Site) -> None:
    script = site.script(
        """
        import disttrack
        with disttrack.init(project="p", mode="disabled", config={"a": 1}) as run:
            run.log({"a": 1}); run.summary["b"] = 2
            assert run.config.a == 1
        """
    )
    site.python(script)
    assert not site.root.exists()
    assert site.ls() == []


@pytest.mark.parametrize("project", ["déjà vu", "実験", "a b", ".hidden", "..", "x" * 128, "😀 👩‍🚀"])
def test_projects_and_ids_of_any_script_stay_inside_the_root(site: Site, project: str) -> None:
    script = site.script(
        """
        import disttrack, sys
        with disttrack.init(project=sys.argv[1], id=sys.argv[1]) as run:
            run.log({'a': 1})
        """
    )
    site.python(script, project)
    run = site.only_run()
    assert (run["project"], run["id"]) == (project, project)
    assert {path.name for path in site.directory.iterdir()} <= {
        "disttrack-runs",
        "home",
        "journals",
        "cache",
        "train.py",
    }


def test_where_a_journal_cannot_lie_the_next_place_takes_it(site: Site) -> None:
    script = site.script(
        """
        import disttrack
        run = disttrack.init(project="p")
        run.log({"a": 1})
        print(run.finish())
        """
    )
    blocked = site.directory / "file"
    blocked.touch()
    output = site.python(script, env={"DISTTRACK_JOURNAL_DIR": str(blocked), "TMPDIR": str(site.directory)})
    assert "1 record logged: 1 stored" in output
    assert (site.directory / f"disttrack-{os.getuid()}" / "journals").is_dir()


@pytest.mark.real(timeout_s=90)
def test_the_writer_neither_leaves_a_silent_rank_nor_stays_with_a_finished_one(site: Site) -> None:
    script = site.script(
        """
        import sys, disttrack
        run = disttrack.init(project="p")
        run._recorder.sender.welcomed.wait()
        print(run.id, flush=True)
        sys.stdin.readline()
        run.log({"late": 1})
        assert run.finish().stored == 1
        print("finished", flush=True)
        sys.stdin.readline()
        with disttrack.init(project="p") as run:
            run.log({"a": 1})
        """
    )
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=site.directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    writer = the_writer()
    assert writer is not None
    with pytest.raises(psutil.TimeoutExpired):  # longer than it lingers when nobody needs it
        writer.wait(timeout=LINGER_S + 3)
    process.stdin.write("go on\n")
    process.stdin.flush()
    assert process.stdout.readline() == "finished\n"
    writer.wait(timeout=300)  # while the process waits to be told to go on
    process.communicate("go on\n", timeout=300)
    assert process.returncode == 0
    assert [run["state"] for run in site.ls()] == ["finished", "finished"]


def test_a_process_that_finds_everything_stored_already_goes_at_once(site: Site) -> None:
    """As where two are started, and the second gets the claim when the first has done all there was to do."""
    script = site.script("import disttrack\nwith disttrack.init(project='p') as run: run.log({'a': 1})")
    site.python(script)
    wait_until(lambda: not running_writers(), "the writer has gone")
    subprocess.run(
        [sys.executable, "-m", "disttrack.writer", os.environ["DISTTRACK_RUNTIME_DIR"], "boot:1"], check=True
    )
    wait_until(lambda: not running_writers(), "the second one has gone", limit_s=(ALONE_S - 10) / PATIENCE)


def running_writers() -> list[psutil.Process]:
    return list(writers(Path(os.environ["DISTTRACK_RUNTIME_DIR"])))


@pytest.mark.real(timeout_s=60)
def test_hundreds_of_runs_in_one_script_exhaust_no_descriptors(site: Site) -> None:
    script = site.script(
        """
        import resource, disttrack
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
        for number in range(300):
            with disttrack.init(project="sweep") as run:
                run.log({"number": number})
            assert run.finish().stored == 1
        """
    )
    assert site.python(script) == ""
    assert {run["state"] for run in site.ls()} == {"finished"}
    assert len(site.ls()) == 300


def test_a_runtime_directory_that_cannot_be_had_costs_the_rows_but_not_the_training(site: Site) -> None:
    blocked = site.directory / "file"
    blocked.touch()
    script = site.script(
        """
        import disttrack
        run = disttrack.init(project="p", config={"a": 1})
        run.log({"a": 1})
        run.summary["b"] = 2
        print(run.finish(), run.id, run.summary)
        """
    )
    output = site.python(script, env={"DISTTRACK_RUNTIME_DIR": str(blocked)})
    assert "3 records logged: 0 stored, 0 pending, 3 dropped" in output
    assert "DISTTRACK_RUNTIME_DIR" in output
