"""The page follows a job that runs: real DDP processes log, and what they log is drawn without a reload."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.page.conftest import Server, Visit
from tests.road.site import TORCHRUN, Site

pytestmark = pytest.mark.real(timeout_s=180)

TRAIN = """
    import os, sys, time, pathlib
    import torch, torch.distributed as dist
    import disttrack
    dist.init_process_group("gloo")
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
    run = disttrack.init(project="live", name="follow-me", config={"lr": 0.1})
    step, stop = 0, pathlib.Path("stop")
    while True:
        loss = model(torch.ones(2, 4)).pow(2).mean()
        loss.backward()
        run.log({"loss": float(loss), "steps": step})
        print("step", step, flush=True)
        step += 1
        over = torch.tensor([float(stop.exists())])
        dist.all_reduce(over)
        if over.item():
            break
        time.sleep(0.05)
    run.finish()
"""


def test_a_job_is_seen_from_its_first_step_to_its_end(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    site = Site(tmp_path)
    site.root.mkdir()
    page = visit(serve(tmp_path)).open("/")
    expect(page.get_by_role("heading", name="No runs yet")).to_be_visible()
    job = site.start(*TORCHRUN, 2, site.script(TRAIN))
    try:
        # From the empty page on, without a reload: the project, its run, its chart.
        row = page.locator("tr[data-run]")
        expect(row).to_have_count(1)
        expect(row.get_by_role("img", name="running")).to_be_visible()
        expect(page.locator('[data-key="loss"] .u-over')).to_be_visible()
        row.get_by_role("link").click()
        expect(page.get_by_role("heading", name=re.compile("follow-me"))).to_be_visible()
        step = page.locator(".facts li", has_text=re.compile("^step "))
        seen = step.inner_text()
        expect(step).not_to_have_text(seen)
        page.get_by_role("link", name="Logs").click()
        line = page.locator(".log-box .line").last
        expect(line).to_contain_text("step")
        printed = line.inner_text()
        expect(page.locator(".log-box .line").last).not_to_have_text(printed)
        (tmp_path / "stop").touch()
        expect(page.locator(".facts")).to_contain_text("finished")
        job.communicate(timeout=300)
        assert job.returncode == 0
    finally:
        (tmp_path / "stop").touch()
        site.end()


def test_a_server_that_goes_is_told_and_one_that_comes_back_is_followed(
    tmp_path: Path, serve: Callable[[Path], Server], visit: Callable[..., Visit]
) -> None:
    from tests.page.made import sweep

    sweep(tmp_path / "disttrack-runs", runs=2, steps=20)
    server = serve(tmp_path)
    visitor = visit(server)
    visitor.expected = "ERR_"
    page = visitor.open("/p/demo")
    expect(page.locator(".feed")).to_contain_text("live")
    server.process.terminate()
    server.process.wait(300)
    expect(page.locator(".feed")).to_contain_text("live feed lost")
    expect(page.locator("tr[data-run]")).to_have_count(2)  # what was shown stays
