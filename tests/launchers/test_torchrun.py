"""torchrun, as the launcher file starts it."""

import pytest

from tests.launchers.training import LAUNCHERS, TRAIN, check_doctor, check_run, environment
from tests.road.site import Site

LAUNCH = ("sh", LAUNCHERS / "torchrun.sh")


@pytest.mark.real(timeout_s=120)
def test_four_processes_of_torchrun_become_one_run(site: Site) -> None:
    site.run(*LAUNCH, site.script(TRAIN), env=environment())
    check_run(site, 4)
    check_doctor(site.run(*LAUNCH, "--module", "disttrack", "doctor", env=environment()), 4, "torchrun")
