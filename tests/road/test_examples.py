"""The examples, run as their docstrings say."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launchers.training import LAUNCHERS, environment
from tests.road.site import Site

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_single_process_example_makes_one_finished_run(site: Site) -> None:
    site.python(EXAMPLES / "single.py")
    run = site.only_run()
    assert (run["state"], run["ranks_joined"]) == ("finished", 1)


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize(
    "launcher", ["torchrun", "mp.spawn", "mpirun.openmpi", pytest.param("mpiexec.hydra", marks=pytest.mark.long)]
)
def test_the_digits_example_learns_and_is_one_run_of_two_ranks(
    site: Site, require_program: Callable[[str], str], launcher: str
) -> None:
    script, arguments, env = EXAMPLES / "ddp_digits.py", ("--group", "g"), environment()
    match launcher:
        case "torchrun":
            output = site.torchrun(2, script, *arguments, env=env)
        case "mp.spawn":
            output = site.python(script, "--spawn", 2, *arguments, env=env)
        case mpirun:
            env |= {"MPIRUN": require_program(mpirun), "PROCESSES": "2"}
            output = site.run("sh", LAUNCHERS / "mpirun.sh", script, *arguments, env=env)
    run = site.only_run()
    assert (run["state"], run["ranks_joined"], run["receipt"]["dropped"]) == ("finished", 2, 0)
    assert (run["group"], run["summary"]["test_accuracy"] > 0.9) == ("g", True)
    assert next(iter(run["summary"])) == "test_accuracy"  # set by hand, so it comes first
    assert output.count("records logged") == 2


@pytest.mark.real(timeout_s=60)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_queue_examples_children_log_for_their_parent(site: Site, method: str) -> None:
    site.python(EXAMPLES / "multiprocessing_queue.py", "--start-method", method)
    run = site.only_run()
    assert (run["state"], run["ranks_joined"], run["receipt"]["pending"]) == ("finished", 1, 0)
    assert run["ranks"][0]["rows"] > run["receipt"]["logged"] // 2
