"""DeepSpeed's launcher, on processors."""

import pytest

from tests.launchers.training import LAUNCHERS, TRAIN, check_doctor, check_run, environment
from tests.road.site import Site

LAUNCH = ("sh", LAUNCHERS / "deepspeed.sh")


@pytest.mark.real(timeout_s=120)
def test_two_processes_of_deepspeed_become_one_run(site: Site) -> None:
    env = environment() | {"PROCESSES": "2"}
    site.run(*LAUNCH, site.script(TRAIN), env=env)
    check_run(site, 2)
    check_doctor(site.run(*LAUNCH, "--module", "disttrack", "doctor", env=env), 2, "DeepSpeed")
