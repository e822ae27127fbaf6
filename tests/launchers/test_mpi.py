"""mpirun of Open MPI and of MPICH: ranks from their variables, without MPI in the script."""

from collections.abc import Callable

import pytest

from tests.launchers.training import LAUNCHERS, TRAIN, check_doctor, check_run, environment
from tests.road.site import Site

MPIRUNS = pytest.mark.parametrize(("mpirun", "source"), [("mpirun.openmpi", "Open MPI"), ("mpiexec.hydra", "PMI")])


@pytest.mark.real(timeout_s=120)
@MPIRUNS
def test_four_processes_of_mpirun_become_one_run(
    site: Site, require_program: Callable[[str], str], mpirun: str, source: str
) -> None:
    env = environment() | {"MPIRUN": require_program(mpirun)}
    site.run("sh", LAUNCHERS / "mpirun.sh", site.script(TRAIN), env=env)
    check_run(site, 4)
    check_doctor(site.run("sh", LAUNCHERS / "mpirun.sh", "-m", "disttrack", "doctor", env=env), 4, source)
