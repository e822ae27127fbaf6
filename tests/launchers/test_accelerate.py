"""accelerate launch: torchrun's agent for GPUs, mpirun for processors; and its launcher for notebooks."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launchers.training import LAUNCHERS, ROWS, TRAIN, check_doctor, check_run, environment, free_port
from tests.road.site import Site
from tests.road.test_notebooks import executed

LAUNCH = ("sh", LAUNCHERS / "accelerate.sh")

WITH_ACCELERATOR = f"""
    import sys
    import accelerate
    import disttrack

    if sys.argv[1] == "before":
        run = disttrack.init(project="demo")
    accelerator = accelerate.Accelerator(cpu=True)
    if sys.argv[1] == "after":
        run = disttrack.init(project="demo")
    for step in range({ROWS}):
        run.log({{"loss": step + accelerator.process_index / 8}}, step=step)
    receipt = run.finish()
    assert receipt.stored == receipt.logged == {ROWS}, receipt
    accelerator.end_training()
"""


TRAIN_IN_A_NOTEBOOK = f"""
from accelerate import notebook_launcher

def train():
    import disttrack
    from disttrack.cli.doctor import doctor

    run = disttrack.init(project="demo")
    for step in range({ROWS}):
        run.log({{"loss": step + run.rank / 8}}, step=step)
    receipt = run.finish()
    assert receipt.stored == receipt.logged == {ROWS}, receipt
    doctor.main([], standalone_mode=False)
"""


def with_mpirun(directory: Path, program: str) -> dict[str, str]:
    """Return variables with which this program is what `mpirun` stands for."""
    (directory / "bin").mkdir()
    (directory / "bin" / "mpirun").symlink_to(program)  # accelerate asks the link where it leads
    proxy = Path(program).with_name("hydra_pmi_proxy")  # which Hydra looks for beside the path that it is called by
    (directory / "bin" / proxy.name).symlink_to(proxy)
    env = environment()
    return env | {"PATH": f"{directory / 'bin'}{os.pathsep}{env['PATH']}", "DEVICE": "cpu", "PROCESSES": "2"}


@pytest.mark.real(timeout_s=180)
@pytest.mark.parametrize(
    ("mpirun", "when", "source"),
    [
        ("mpirun.openmpi", "before", "Open MPI"),
        pytest.param("mpiexec.hydra", "after", "PMI", marks=pytest.mark.long),
    ],
)
def test_two_processes_that_accelerate_starts_by_mpirun_become_one_run(
    site: Site, require_program: Callable[[str], str], mpirun: str, when: str, source: str
) -> None:
    env = with_mpirun(site.directory, require_program(mpirun))
    site.run(*LAUNCH, site.script(WITH_ACCELERATOR), when, env=env)
    check_run(site, 2)
    check_doctor(site.run(*LAUNCH, "--module", "disttrack", "doctor", env=env), 2, source)


@pytest.mark.real(timeout_s=120)
@pytest.mark.long
def test_two_processes_that_accelerate_starts_by_torchruns_agent_become_one_run(site: Site) -> None:
    env = environment() | {"PROCESSES": "2"}  # without GPUs it starts them, too, where it is told that they are there
    site.run(*LAUNCH, site.script(TRAIN), env=env)
    check_run(site, 2)
    check_doctor(site.run(*LAUNCH, "--module", "disttrack", "doctor", env=env), 2, "torchrun")


@pytest.mark.real(timeout_s=180)
def test_each_call_of_accelerates_notebook_launcher_becomes_a_run_beside_the_notebooks_own(site: Site) -> None:
    os.environ.update(environment())
    launches = [f"notebook_launcher(train, num_processes=2, use_port={free_port()})" for _ in range(2)]
    shown = executed(
        site,
        "import disttrack; run = disttrack.init(project='notebook'); run.log({'seen': 1})",
        TRAIN_IN_A_NOTEBOOK,
        *launches,
        "run.log({'seen': 2}); print(run.finish())",
    )
    for output in shown[2:4]:
        check_doctor(output, 2, "torchrun")
    runs = {project: [run["id"] for run in site.ls() if run["project"] == project] for project in ("notebook", "demo")}
    assert [len(ids) for ids in runs.values()] == [1, 2]
    for run_id in runs["demo"]:
        check_run(site, 2, run_id=run_id)
    own = site.show(runs["notebook"][0])
    assert (own["state"], own["world_size"], own["summary"]["seen"]) == ("finished", 1, 2)
