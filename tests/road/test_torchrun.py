"""The main road under torchrun: from log() in every rank to one row in `ls`."""

import re
import sys

import pytest

from tests.road.site import Site

TRAIN = """
    import os, sys, disttrack
    only, rank, world = os.environ.get("ONLY"), int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if only is None or int(only) == rank:
        run = disttrack.init(project="demo", config={"lr": 0.1})
        for step in range(2000):
            run.log({f"key{k}": step * k + rank / world for k in range(10)}, step=step)
        receipt = run.finish()
        assert receipt.logged == receipt.stored == 2001, receipt  # 2,000 rows and the config
        print(f"job_type={run.job_type} group={run.group} id={run.id}", flush=True)
"""


@pytest.mark.real(timeout_s=120)
def test_four_ranks_become_one_run_with_every_value_of_every_rank(site: Site) -> None:
    site.torchrun(4, site.script(TRAIN))
    run = site.only_run()
    assert (run["state"], run["world_size"], run["ranks_joined"], run["attempt"]) == ("finished", 4, 4, 0)
    assert [rank["job_type"] for rank in run["ranks"]] == ["rank-0", "rank-1", "rank-2", "rank-3"]
    assert [(rank["rank"], rank["local_rank"], rank["rows"]) for rank in run["ranks"]] == [
        (r, r, 2000) for r in range(4)
    ]
    assert run["group"] is not None
    assert run["receipt"] == {"logged": 8004, "stored": 8004, "pending": 0, "dropped": 0, "unreachable": 0}
    rows = site.export(run["id"])
    assert len(rows) == 80_000
    for rank in range(4):
        mine = [row for row in rows if row["rank"] == rank and row["key"] == "key3"]
        assert [row["step"] for row in mine] == list(range(2000))
        assert [row["value"] for row in mine] == [step * 3 + rank / 4 for step in range(2000)]
    assert run["summary"]["key1"] == 1999.0
    assert run["summary_ranks"]["key0"] == {"min": 0.0, "mean": 0.375, "max": 0.75, "argmax": 3}
    assert run["config"] == {"lr": 0.1}


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize("only", [0, 3])
def test_ranks_that_never_call_init_are_absent_and_not_waited_for(site: Site, only: int) -> None:
    site.torchrun(4, site.script(TRAIN), env={"ONLY": str(only)})
    run = site.only_run()
    assert (run["state"], run["world_size"], run["ranks_joined"]) == ("finished", 4, 1)
    assert {rank["rank"]: rank["state"] for rank in run["ranks"]} == {
        rank: "finished" if rank == only else "absent" for rank in range(4)
    }
    assert len(site.export(run["id"])) == 20_000


@pytest.mark.real(timeout_s=120)
def test_ranks_without_a_common_runtime_directory_meet_in_the_agents_store(site: Site) -> None:
    apart = """
        import os, time
        os.environ["DISTTRACK_RUNTIME_DIR"] += "/" + os.environ["RANK"]
        import disttrack
        run = disttrack.init(project="demo")
        run.log({"rank": run.rank})
        run._recorder.sender.welcomed.wait()
        open(f"{run.id}-{run.rank}", "w").close()
        while not os.path.exists(f"{run.id}-{1 - run.rank}"):
            time.sleep(0.05)  # until the other one has met the same writer
        assert run.finish().pending == 0
    """
    site.torchrun(2, site.script(apart))
    run = site.only_run()
    assert (run["state"], run["ranks_joined"]) == ("finished", 2)


@pytest.mark.real(timeout_s=120)
def test_a_restart_by_torchrun_is_the_next_attempt_of_the_same_run(site: Site) -> None:
    failing = """
        import os, disttrack
        run = disttrack.init(project="demo")
        attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
        for step in range(10):
            run.log({"attempt": attempt}, step=step)
        if attempt == 0:
            run._recorder.sender.welcomed.wait()
            open(f"there-{run.rank}", "w").close()
            import time
            while not (os.path.exists("there-0") and os.path.exists("there-1")):
                time.sleep(0.05)
            if run.rank == 1:
                raise RuntimeError("as planned")
            while True:
                time.sleep(0.1)  # until torchrun ends this rank
        run.finish()
    """
    site.run(
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 2, "--max-restarts", 1),
        site.script(failing),
    )
    run = site.only_run()
    assert (run["state"], run["attempt"], run["ranks_joined"]) == ("finished", 1, 2)
    rows = site.export(run["id"], "--superseded")
    assert sorted({(row["rank"], row["attempt"], row["value"]) for row in rows}) == [
        (rank, attempt, attempt) for rank in range(2) for attempt in range(2)
    ]
    assert len(rows) == 40
    assert [
        (row["attempt"], row["state"], row["ranks_joined"], row["first_step"], row["last_step"], row["lost_steps"])
        for row in run["attempts"]
    ] == [(0, "failed", 2, 0, 9, 10), (1, "finished", 2, 0, 9, 0)]
    first = run["attempts"][0]["first_failure"]
    assert (first["rank"], first["state"], first["exit_code"], first["terminated"]) == (1, "failed", 1, 1)
    assert first["exception"] == "RuntimeError: as planned"
    assert [row["attempt"] for row in site.export(run["id"])] == [1] * 20


@pytest.mark.real(timeout_s=120)
def test_a_wrapper_between_torchrun_and_the_ranks_changes_nothing(site: Site) -> None:
    script = site.script(
        "import disttrack\nwith disttrack.init(project='demo') as run:\n    run.log({'a': run.rank})\n"
    )
    wrapper = site.script(f"#!/bin/sh\n{sys.executable} {script}\nexit $?\n", "wrap.sh")
    wrapper.chmod(0o755)
    site.run(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", 2, "--no-python", wrapper)
    assert site.only_run()["ranks_joined"] == 2


@pytest.mark.real(timeout_s=120)
def test_the_same_answers_come_from_a_rebuilt_index(site: Site) -> None:
    site.torchrun(2, site.script(TRAIN))
    run_id = site.ls()[0]["id"]
    questions = [("ls",), ("ls", "--json"), ("show", run_id, "--json"), ("export", run_id), ("ranks", run_id, "--json")]
    before = [site.cli(*question) for question in questions]
    found = list(site.root.glob("index*"))
    assert found
    for path in found:
        path.unlink()
    after = [site.cli(*question) for question in questions]
    for question, one, other in zip(questions, before, after, strict=True):
        assert _without_age(one) == _without_age(other), question


def _without_age(text: str) -> str:
    """Blank the only figures that may change between two looks at an ended run: how long ago a rank was seen."""
    return re.sub(r'"last_seen_s": ?[0-9.e-]+', "", text)


@pytest.mark.real(timeout_s=120)
def test_a_new_launch_with_the_same_id_is_the_next_attempt_of_the_run(site: Site) -> None:
    script = site.script(
        """
        import os, sys, disttrack
        first, steps = int(sys.argv[1]), int(sys.argv[2])
        run = disttrack.init(project="demo", id="mine")
        for step in range(first, first + steps):
            run.log({"loss": step}, step=step)
        run._recorder.sender.welcomed.wait()
        if sys.argv[3] == "crash":
            os._exit(7)
        """
    )
    site.torchrun(2, script, 0, 100, "crash", code=1)
    site.torchrun(2, script, 60, 100, "end")
    site.torchrun(1, script, 160, 10, "end")
    run = site.only_run()
    assert (run["id"], run["state"], run["attempt"], run["world_size"]) == ("mine", "finished", 2, 1)
    assert [
        (row["attempt"], row["world_size"], row["first_step"], row["lost_steps"], row["state"])
        for row in run["attempts"]
    ] == [(0, 2, 0, 40, "crashed"), (1, 2, 60, 0, "finished"), (2, 1, 160, 0, "finished")]
    failure = run["attempts"][0]["first_failure"]
    assert (failure["exit_code"], failure["signal"]) == (7, None)
    # torchrun may have ended the other rank before it came to log.
    assert run["receipt"]["stored"] == run["receipt"]["logged"] in (310, 410)
