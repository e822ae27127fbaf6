"""Resume, rewind and fork: decided at init by what lies in the run's directory, without a server."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest

import disttrack
from tests.road.site import Site, wait_until

pytestmark = pytest.mark.real(timeout_s=150)

#: init looks for less than a second (P7), and opens the run where it has seen nothing by then. What it decides by what
#: it sees is the matter here, however slow the machine is.
TRAIN = """
import os, signal, sys, disttrack, disttrack.api.resuming
disttrack.api.resuming.LOOK_S, disttrack.api.resuming.READ_S = 100.0, 60.0
arguments, rows, first, ending = eval(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
try:
    run = disttrack.init(project="p", **arguments)
except disttrack.errors.DisttrackError as error:
    print(f"{type(error).__name__}: {error}")
    sys.exit(9)
print("id", run.id, "step", run.step, "resumed", run.resumed, flush=True)
for number in range(rows):
    run.log({"x": number}, **({} if first == "-" else {"step": int(first) + number}))
if ending == "kill":
    run.config.update({"killed": True}, allow_val_change=True)
    while run._recorder.sender.acked < run._recorder.outbox.end: pass
    os.kill(os.getpid(), signal.SIGKILL)
if ending == "wait":
    signal.pause()
sys.exit(int(ending) if ending.isdecimal() else 0)
"""


@pytest.fixture
def training(site: Site) -> Site:
    site.script(TRAIN)
    return site


def train(site: Site, rows: int = 0, *, first: int | None = None, ending: str = "0", **arguments: Any) -> str:
    """Run the script to its end and return what it printed. A refused init ends with 9."""
    code = {"kill": -9, "refused": 9}.get(ending) or int(ending)
    step = "-" if first is None else str(first)
    return site.run(sys.executable, "train.py", repr(arguments), rows, step, ending, code=code)


def steps(run_id: str, **arguments: Any) -> list[int]:
    with disttrack.Api() as api:
        found: list[int] = api.run(run_id).history(["x"], **arguments)["step"].tolist()
        return found


def test_a_resumed_run_goes_on_behind_its_last_step_with_and_without_steps(training: Site) -> None:
    train(training, 10, id="a", ending="3")
    assert "step 10 resumed True" in train(training, 5, id="a", resume="allow")
    assert "step 15 resumed True" in train(training, 5, id="a", resume="must", first=15)
    shown = training.show("a")
    assert (shown["attempt"], shown["state"], len(shown["attempts"])) == (2, "finished", 3)
    assert shown["resumed_from"] == {"id": "a", "step": 14}
    assert shown["forked_from"] is None
    assert steps("a") == list(range(20))
    assert "resumed   a, behind step 14" in training.cli("show", "a")


def test_a_run_that_crashed_goes_on_as_well(training: Site) -> None:
    train(training, 10, id="a", ending="kill")
    assert "step 10" in train(training, 5, id="a", resume="allow")
    assert training.show("a")["resumed_from"] == {"id": "a", "step": 9}
    assert steps("a") == list(range(15))


def test_without_resume_a_known_id_is_a_new_attempt_that_supersedes_and_destroys_nothing(training: Site) -> None:
    train(training, 10, id="a")
    said = train(training, 4, id="a")
    assert said.count("the run a is there already; this is a new attempt of it") == 1
    assert "step 0" in said
    assert steps("a") == [0, 1, 2, 3]
    assert steps("a", superseded=True) == [*range(10), *range(4)]
    assert training.show("a")["resumed_from"] is None


def test_must_never_and_allow_say_what_to_do(training: Site) -> None:
    said = train(training, id="a", resume="must", ending="refused")
    assert "ResumeError: The run 'a' cannot be resumed: there is no such run" in said
    assert "resume='allow'" in said
    assert not (training.root / "p").exists()
    train(training, 2, id="a", resume="never")
    said = train(training, id="a", resume="never", ending="refused")
    assert "ResumeError: The run 'a' cannot be begun: it is there already" in said
    assert training.show("a")["attempt"] == 0
    train(training, 2, id="b", resume="allow")
    assert steps("b") == [0, 1]


def test_auto_is_the_last_run_of_this_directory_that_failed(training: Site) -> None:
    train(training, 3, id="good", resume=True)
    train(training, 3, id="bad", ending="1")
    said = train(training, 2, resume="auto", ending="kill")
    assert "id bad step 3" in said
    assert "goes on with run bad" in said
    assert "id bad step 5" in train(training, 2, resume="auto")
    assert steps("bad") == list(range(7))
    assert "id bad" not in train(training, 2, resume="auto")  # it ended well now
    train(training, 3, id="elsewhere", ending="1")
    (training.directory / "other").mkdir()
    other = training.run(
        sys.executable,
        "-c",
        "import os; os.chdir('other'); import disttrack; r = disttrack.init(project='p', resume='auto'); print(r.id)",
    )
    assert "elsewhere" not in other.split()


def test_an_id_that_another_launch_is_writing_is_refused_until_it_ends(training: Site) -> None:
    alive = training.start(sys.executable, "train.py", "{'id': 'a'}", 3, "-", "wait")
    wait_until(lambda: any(training.root.glob("p/a/log/*.dtl")), "the run is opened")
    for resume in (None, "allow", "must"):
        said = train(training, id="a", resume=resume, ending="refused")
        assert f"rank 0 of another launch is writing it (pid {alive.pid} on" in said
    alive.send_signal(signal.SIGKILL)
    alive.communicate()
    wait_until(lambda: training.show("a")["state"] == "crashed", "its end is seen")
    assert "step 3" in train(training, 2, id="a", resume="allow")


def test_a_deleted_id_is_never_given_again(training: Site) -> None:
    train(training, 3, id="a")
    training.cli("rm", "a", "--yes")
    for resume in (None, "allow", "must"):
        said = train(training, id="a", ending="refused", resume=resume)
        assert "RunDeleted: The run p/a was deleted, and its id is never given again" in said
    assert "ResumeError" in train(training, fork_from="a?_step=1", ending="refused")


def test_a_rewound_run_keeps_its_later_points_out_of_sight(training: Site) -> None:
    train(training, 10, id="a")
    assert "step 5" in train(training, 2, resume_from="a?_step=4")
    assert steps("a") == [0, 1, 2, 3, 4, 5, 6]
    assert training.show("a")["resumed_from"] == {"id": "a", "step": 4}
    train(training, 0, resume_from="a?_step=1")  # and logs nothing yet
    assert steps("a") == [0, 1]
    assert sorted(set(steps("a", superseded=True))) == list(range(10))
    assert "there is no such run" in train(training, resume_from="b?_step=1", ending="refused")


def test_a_fork_has_its_parents_points_up_to_the_step_and_copies_nothing(training: Site) -> None:
    train(training, 10, id="parent")
    assert "step 5 resumed False" in train(training, 3, id="child", fork_from="parent?_step=4")
    assert "step 7" in train(training, 2, id="grandchild", fork_from="child?_step=6")
    assert steps("child") == list(range(8))
    assert steps("grandchild") == list(range(9))
    assert steps("parent") == list(range(10))
    shown = training.show("grandchild")
    assert (shown["forked_from"], shown["resumed_from"]) == ({"id": "child", "step": 6}, None)
    assert shown["ranks"][0]["rows"] == 2
    assert [row["value"] for row in training.export("grandchild", "--keys", "x")] == [0, 1, 2, 3, 4, 0, 1, 0, 1]
    assert {row["run"] for row in training.export("grandchild")} <= {"grandchild", None}
    assert steps("grandchild", points=4)[0] == 0
    assert "there is no such run" in train(training, fork_from="nobody?_step=1", ending="refused")
    training.cli("rm", "parent", "--yes")
    assert steps("grandchild") == [5, 6, 7, 8]


def test_a_long_run_is_resumed_from_the_end_of_its_log(training: Site) -> None:
    train(training, 300_000, id="long")
    assert "step 300000" in train(training, 1, id="long", resume="must")


def test_a_log_that_cannot_be_read_now_is_said_and_its_run_goes_on_when_it_can(training: Site) -> None:
    train(training, 3, id="a")
    log = training.root / "p" / "a" / "log" / "000001.dtl"
    log.rename(log.with_suffix(".kept"))
    os.mkfifo(log)  # no plain file: whoever opens it gets an error
    going = training.start(sys.executable, "train.py", "{'id': 'a', 'resume': 'allow'}", 2, "3", "0")
    assert going.stdout is not None
    assert "nobody knows yet whether this run was there before" in going.stdout.readline()
    log.with_suffix(".kept").replace(log)
    going.communicate(timeout=300)
    assert going.returncode == 0
    assert training.show("a")["attempt"] == 1
    assert steps("a") == list(range(5))


@pytest.mark.parametrize("resume", ["allow", "auto"])
@pytest.mark.parametrize("own_steps", [True, False])
def test_all_ranks_of_a_launch_go_on_with_the_run(training: Site, resume: str, own_steps: bool) -> None:
    script = training.script(
        f"""
        import os, sys, disttrack, disttrack.api.resuming
        disttrack.api.resuming.LOOK_S, disttrack.api.resuming.READ_S = 100.0, 60.0
        resume, code = sys.argv[1], int(sys.argv[2])
        run = disttrack.init(project="p", resume=resume, id=None if resume == "auto" and not code else "a",
                             settings={{"rank": int(os.environ["R"]), "world_size": 2}})
        for number in range(5):
            run.log({{"x": number}}, **({{"step": number + (0 if code else 5)}} if {own_steps} else {{}}))
        run.finish(code)
        open(os.environ["R"], "w").close()
        while not (os.path.exists("0") and os.path.exists("1")): pass
        """,
        "ranks.py",
    )
    shell = f'for r in 1 0; do R=$r {sys.executable} {script} "$0" "$1" & done; wait; rm 0 1'
    for code in (3, 0):
        training.run("sh", "-c", shell, resume, code)
    shown = training.only_run()
    assert (shown["id"], shown["attempt"], shown["state"], shown["ranks_joined"]) == ("a", 1, "finished", 2)
    assert shown["resumed_from"] == {"id": "a", "step": 4}
    assert training.steps("a", "x") == {0: list(range(10)), 1: list(range(10))}
