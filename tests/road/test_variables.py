"""Ranks that variables alone tell apart, and variables that make no sense."""

import sys

import pytest

from tests.road.site import Site

TRAIN = """
    import disttrack
    run = disttrack.init(project="demo")
    for step in range(50):
        run.log({"rank": run.rank}, step=step)
    assert run.finish().pending == 0
    print("as", run.rank, "of", run.world_size)
"""


def variables(rank: int, world_size: int) -> dict[str, str]:
    return {"RANK": str(rank), "WORLD_SIZE": str(world_size), "LOCAL_RANK": str(rank)}


@pytest.mark.real(timeout_s=120)
def test_processes_with_variables_of_ones_own_are_one_run(site: Site) -> None:
    script = site.script(TRAIN)
    ranks = [site.start(sys.executable, script, env=variables(rank, 3)) for rank in range(3)]
    for number, rank in enumerate(ranks):
        output, _ = rank.communicate(timeout=300)
        assert (rank.returncode, f"as {number} of 3" in output) == (0, True), output
    run = site.only_run()
    assert (run["state"], run["world_size"], run["ranks_joined"], run["attempt"]) == ("finished", 3, 3, 0)
    assert [rank["job_type"] for rank in run["ranks"]] == ["rank-0", "rank-1", "rank-2"]
    assert site.steps(run["id"], "rank") == {rank: list(range(50)) for rank in range(3)}
    told = site.run(sys.executable, "-m", "disttrack", "doctor", env=variables(1, 3))
    assert "rank 1 of 3, local rank 1: from RANK, WORLD_SIZE and LOCAL_RANK" in told


@pytest.mark.real(timeout_s=120)
def test_variables_that_make_no_sense_are_named_once_and_the_process_stands_by_itself(site: Site) -> None:
    output = site.python(site.script(TRAIN), env=variables(7, 4) | {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"})
    assert output.count("not heeded") == 1
    assert "(RANK=7 is not below WORLD_SIZE=4): this process is rank 0 of 1, from single process" in output
    run = site.only_run()
    assert (run["state"], run["world_size"], run["ranks_joined"]) == ("finished", 1, 1)


@pytest.mark.real(timeout_s=120)
def test_one_process_of_a_hundred_thousand_is_no_more_than_one(site: Site) -> None:
    site.python(site.script(TRAIN), env=variables(0, 100_000))
    (run,) = site.ls()
    assert (run["state"], run["ranks_joined"]) == ("finished", 1)
    shown = site.cli("show", run["id"]).splitlines()
    assert len(shown) < 100
    assert shown[-1].endswith("ranks never called init")
