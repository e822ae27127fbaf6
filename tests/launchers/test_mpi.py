"""mpirun of Open MPI and of MPICH: ranks from their variables, without MPI in the script."""

import sys
from collections.abc import Callable

import pytest

from tests.launchers.training import LAUNCHERS, TRAIN, check_doctor, check_run, environment
from tests.road.site import Site

MPIRUNS = pytest.mark.parametrize(("mpirun", "source"), [("mpirun.openmpi", "Open MPI"), ("mpiexec.hydra", "PMI")])


#: As scripts have it that are meant for torch: the usual variables, made from the launcher's.
WRAPPER = """
    export RANK="${OMPI_COMM_WORLD_RANK:-$PMI_RANK}" WORLD_SIZE="${OMPI_COMM_WORLD_SIZE:-$PMI_SIZE}"
    export LOCAL_RANK="$RANK"
    "$@"
    exit "$?"
"""


@pytest.mark.real(timeout_s=120)
@MPIRUNS
def test_four_processes_of_mpirun_become_one_run(
    site: Site, require_program: Callable[[str], str], mpirun: str, source: str
) -> None:
    env = environment() | {"MPIRUN": require_program(mpirun)}
    site.run("sh", LAUNCHERS / "mpirun.sh", site.script(TRAIN), env=env)
    check_run(site, 4)
    check_doctor(site.run("sh", LAUNCHERS / "mpirun.sh", "-m", "disttrack", "doctor", env=env), 4, source)


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize("mpirun", ["mpirun.openmpi", pytest.param("mpiexec.hydra", marks=pytest.mark.long)])
def test_processes_in_wrappers_that_set_the_usual_variables_are_one_run(
    site: Site, require_program: Callable[[str], str], mpirun: str
) -> None:
    (site.directory / "wrapper.sh").write_text(WRAPPER)
    wrapped = (require_program(mpirun), "-n", 2, "sh", site.directory / "wrapper.sh", sys.executable)
    site.run(*wrapped, site.script(TRAIN), env=environment())
    check_run(site, 2)
    told = site.run(*wrapped, "-m", "disttrack", "doctor", env=environment())
    check_doctor(told, 2, "RANK, WORLD_SIZE and LOCAL_RANK")
