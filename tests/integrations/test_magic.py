"""magic: a plain torch loop without any log() leaves its step time, loss, learning rate, gradient norm, throughput."""

from __future__ import annotations

import json
from typing import Any

import pytest

from disttrack.errors import UsageError
from disttrack.integrations.magic import Wanted
from disttrack.settings import load
from tests.road.site import Site

KEYS = ["magic/grad_norm", "magic/loss", "magic/lr", "magic/samples_per_s", "magic/step_time_s"]

#: A script whose last line of output is what it knows itself of each step.
LOOP = """
    import json, sys
    import disttrack
    assert "torch" not in sys.modules
    run = disttrack.init(project="p", id="a", magic={magic})
    assert "torch" not in sys.modules
    import torch
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    criterion = torch.nn.MSELoss()
    known = {{}}
    for step in range(1, 13):
        optimizer.zero_grad()
        loss = criterion(model(torch.randn(16, 4)), torch.randn(16, 1))
        loss.backward()
        norm = sum(parameter.grad.norm() ** 2 for parameter in model.parameters()) ** 0.5
        known[step] = [loss.item(), optimizer.param_groups[0]["lr"], norm.item()]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            criterion(model(torch.randn(99, 4)), torch.randn(99, 1))  # a validation
    assert run.step == 0
    run.finish()
    optimizer.step()  # after the end nothing looks at it
    print(json.dumps(known))
"""


def points(site: Site, run_id: str = "a") -> dict[int, dict[int, dict[str, Any]]]:
    """Return by rank, step and key what the run has."""
    found: dict[int, dict[int, dict[str, Any]]] = {}
    for row in site.export(run_id):
        found.setdefault(row["rank"], {}).setdefault(row["step"], {})[row["key"]] = row["value"]
    return found


@pytest.mark.real(timeout_s=120)
def test_a_loop_without_log_leaves_what_it_did_at_the_steps_that_are_due(site: Site) -> None:
    printed = site.python(site.script(LOOP.format(magic='{"every": 5}')))
    known = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
    rows = points(site)[0]
    assert sorted(rows) == [1, 2, 5, 10]
    assert sorted(rows[1]) == ["magic/grad_norm", "magic/loss", "magic/lr"]  # a time needs two steps
    for step, row in rows.items():
        loss, rate, norm = known[str(step)]
        assert (row["magic/loss"], row["magic/lr"]) == (loss, rate)
        assert row["magic/grad_norm"] == pytest.approx(norm, rel=1e-5)
        if step > 1:
            assert sorted(row) == KEYS
            assert row["magic/step_time_s"] > 0
            assert row["magic/samples_per_s"] * row["magic/step_time_s"] == pytest.approx(16)


@pytest.mark.real(timeout_s=120)
def test_only_what_is_chosen_is_recorded(site: Site) -> None:
    site.python(site.script(LOOP.format(magic="""'{"grad_norm": false, "throughput": false, "step_time": false}'""")))
    assert {step: sorted(row) for step, row in points(site)[0].items()} == {
        step: ["magic/loss", "magic/lr"] for step in (1, 2, 10)
    }


@pytest.mark.real(timeout_s=180)
def test_compiled_models_amp_accumulation_and_two_optimizers_are_recorded_and_not_disturbed(site: Site) -> None:
    printed = site.python(
        site.script(
            """
            import json, pickle
            import torch
            import disttrack
            run = disttrack.init(project="p", id="a", magic={"every": 1})
            known = {}

            model = torch.compile(torch.nn.Linear(4, 1), fullgraph=True, backend="eager")
            optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(0.25), fused=True)
            other = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.125)
            scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
            for step in range(1, 5):
                for part in range(2):  # accumulation
                    out = model(torch.randn(3, 4))
                    loss = torch.nn.functional.mse_loss(out, torch.zeros(3, 1)) / 2  # no module: nobody sees its output
                    loss = torch.nn.L1Loss()(out, torch.ones(3, 1))
                    scaler.scale(loss / 2).backward()
                norm = sum(parameter.grad.norm() ** 2 for parameter in model.parameters()) ** 0.5 / scaler.get_scale()
                known[step] = [loss.item(), norm.item()]
                other.step()
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad()
            pickle.dumps(model._orig_mod)
            run.finish()
            print(json.dumps(known))
            """
        )
    )
    assert "magic ended" not in printed
    known = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
    rows = points(site)[0]
    lr = {key for row in rows.values() for key in row if key.endswith("lr")}
    assert lr == {"magic/lr", "magic/optimizer_1/lr"}
    # The first that stepped is the one that counts: the other one, which holds no gradients.
    assert all(row["magic/lr"] == 0.125 for row in rows.values())
    assert {step: row["magic/loss"] for step, row in rows.items()} == {
        int(step): loss for step, (loss, _) in known.items()
    }
    norms = {step: row["magic/optimizer_1/grad_norm"] for step, row in rows.items() if len(row) > 4}
    assert len(norms) == 3
    for step, norm in norms.items():  # it steps after the row of its step: what it had is in the next one
        assert norm == pytest.approx(known[str(step - 1)][1], rel=1e-4)
    assert all(
        row["magic/samples_per_s"] * row["magic/step_time_s"] == pytest.approx(6)
        for step, row in rows.items()
        if step > 1
    )


@pytest.mark.real(timeout_s=180)
def test_each_rank_of_a_parallel_job_records_its_own(site: Site) -> None:
    site.torchrun(
        2,
        site.script(
            """
            import torch, torch.distributed as dist
            import disttrack
            run = disttrack.init(project="p", id="a", magic=True)
            run_watched = run
            dist.init_process_group("gloo")
            torch.manual_seed(dist.get_rank())
            model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
            run.watch(model, log="all", log_freq=2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for step in range(4):
                optimizer.zero_grad()
                torch.nn.MSELoss()(model(torch.randn(8, 4)), torch.randn(8, 1)).backward()
                optimizer.step()
            run.log({"end": 1})
            run.finish()
            dist.destroy_process_group()
            """
        ),
    )
    ranks = points(site)
    assert sorted(ranks) == [0, 1]
    for step in (1, 2):
        assert ranks[0][step]["magic/loss"] != ranks[1][step]["magic/loss"]
        assert ranks[0][step]["magic/grad_norm"] == ranks[1][step]["magic/grad_norm"]  # averaged over ranks
    for rank in (0, 1):  # as the optimizer sees them: after the ranks' mean
        for key in ("gradients/weight", "gradients/bias", "parameters/weight"):
            assert ranks[rank][2][key] == ranks[0][2][key]


def test_nothing_is_recorded_where_torch_is_never_imported(site: Site) -> None:
    site.python(
        site.script(
            """
            import importlib.util, sys
            import disttrack
            run = disttrack.init(project="p", id="a", magic=True, sync_tensorboard=True)
            assert importlib.util.find_spec("torch") is not None  # somebody asks whether it is there
            run.log({"loss": 1.0})
            run.finish()
            assert "torch" not in sys.modules
            assert "tensorboard" not in sys.modules
            """
        )
    )
    assert points(site) == {0: {0: {"loss": 1.0}}}


def test_the_first_two_steps_are_due_and_each_one_that_every_divides() -> None:
    assert [step for step in range(1, 31) if Wanted().due(step)] == [1, 2, 10, 20, 30]


@pytest.mark.parametrize("wrong", [{"los": True}, {"loss": 1}, {"every": 0}, {"every": True}, {"every": "10"}])
def test_what_magic_does_not_know_is_an_error_of_init(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="magic="):
        load({"magic": wrong}, None, {})
