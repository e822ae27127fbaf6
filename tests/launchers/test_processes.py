"""Processes that a script starts itself by torch.multiprocessing, in each way that there is."""

from itertools import product

import pytest

from tests.launchers.training import ROWS, check_doctor, check_run, environment
from tests.road.site import Site

TRAIN = f"""
    import sys
    import torch.distributed as dist, torch.multiprocessing as mp
    import disttrack
    from disttrack.cli.doctor import doctor

    def train(rank, world_size, store, when):
        if when == "before":
            run = disttrack.init(project="demo")
        dist.init_process_group("gloo", init_method=f"file://{{store}}", rank=rank, world_size=world_size)
        if when == "after":
            run = disttrack.init(project="demo")
        for step in range({ROWS}):
            run.log({{"loss": step + rank / 8}}, step=step)
        receipt = run.finish()
        assert receipt.stored == receipt.logged == {ROWS}, receipt
        if when == "after":
            doctor.main([], standalone_mode=False)
        dist.destroy_process_group()

    if __name__ == "__main__":
        method, world_size, store, when = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
        mp.start_processes(train, (world_size, store, when), nprocs=world_size, start_method=method)
"""


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize(
    ("method", "when"),
    [
        ("forkserver", "after"),
        *(
            pytest.param(method, when, marks=pytest.mark.long)  # spawn is in tests/road every day
            for method, when in [("forkserver", "before"), *product(["spawn", "fork"], ["before", "after"])]
        ),
    ],
)
def test_four_processes_of_torch_become_one_run_however_they_start(site: Site, method: str, when: str) -> None:
    output = site.python(site.script(TRAIN), method, 4, site.directory / "store", when, env=environment())
    check_run(site, 4, local=False)
    if when == "after":
        check_doctor(output, 4, "torch.distributed")
