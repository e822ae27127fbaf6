"""watch: histograms of gradients and parameters, in the row that is logged next; and what it leaves alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import disttrack
from disttrack.integrations.tensors import TensorHistogram, dense, total_norm
from disttrack.records.blobs import Note
from tests.road.site import Site

SCRIPT = """
import copy, pickle
import torch
import disttrack

run = disttrack.init(project="p", id="a")
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Embedding(50, 4, sparse=True), torch.nn.Linear(4, 1))
model.register_parameter("unused", torch.nn.Parameter(torch.ones(3)))
frozen = torch.nn.Linear(2, 2)
disttrack.watch([model, frozen], torch.nn.MSELoss(), log="all", log_freq=3)
dense = torch.optim.SGD([*model[1].parameters(), model.unused, *frozen.parameters()], lr=0.1)
sparse = torch.optim.SparseAdam(model[0].parameters(), lr=0.1)
for step in range(1, 8):
    dense.zero_grad()
    sparse.zero_grad()
    loss = model(torch.tensor([1, 2, 2])).sum()
    loss.backward()
    if step == 6:
        model[1].weight.grad[0, 0] = float("nan")
        model[1].weight.grad[0, 1] = float("inf")
    dense.step()
    sparse.step()
    disttrack.log({"loss": 1.0}, step=step)
copy.deepcopy(model)
pickle.dumps(model)
disttrack.unwatch(frozen)
disttrack.unwatch()
for step in range(8, 12):
    dense.step()
    run.log({"loss": 1.0}, step=step)
run.watch("no model")
run.watch(model, log="everything")
run.watch(model, log_freq=0)
run.watch(model, log=None)
run.watch(model, log_freq=2, log_graph=True)
run.watch(model)
dense.step()
dense.step()  # due, and no row follows
run.finish()
"""


@pytest.mark.real(timeout_s=120)
def test_histograms_are_in_the_row_that_is_logged_next(tmp_path: Path) -> None:
    site = Site(tmp_path)
    printed = site.python(site.script(SCRIPT))
    assert "no torch.nn.Module" in printed
    assert "log='everything'" in printed
    assert "log_freq=0" in printed
    assert "graphs are not kept" in printed
    assert "watched already" in printed
    assert "watch() ended" not in printed
    with disttrack.Api(tmp_path) as api:
        run = api.run("a")
        rows: dict[str, dict[int, Any]] = {}
        for key in (key for key in run.summary if "/" in key):
            history = run.history([key])
            rows[key] = dict(zip(history["step"].tolist(), history[key].tolist(), strict=True))
    assert {key: sorted(found) for key, found in rows.items()} == {
        "gradients/0.weight": [3, 6],
        "gradients/1.weight": [3, 6, 11],  # the last one joins the open row at the end
        "gradients/1.bias": [3, 6, 11],
        "parameters/0.weight": [3, 6],
        "parameters/1.weight": [3, 6],
        "parameters/1.bias": [3, 6],
        "parameters/unused": [3, 6],
        "parameters/graph_1.weight": [3, 6],
        "parameters/graph_1.bias": [3, 6],
    }
    assert sum(rows["gradients/0.weight"][3]["values"]) == 2 * 4  # of a sparse gradient what it holds
    assert rows["gradients/1.weight"][6]["nonfinite"] == 2
    assert sum(rows["gradients/1.weight"][6]["values"]) == 2
    assert rows["parameters/unused"][3] == {"_type": "histogram", "bins": [0.5, 1.5], "values": [3]}


def test_unknown_models_are_not_an_error_where_torch_was_never_imported(tmp_path: Path) -> None:
    site = Site(tmp_path)
    printed = site.python(
        site.script(
            """
            import sys
            import disttrack
            sys.modules["torch"] = None  # as where it is not installed
            run = disttrack.init(project="p", id="a", magic=True)
            run.watch(object())
            run.unwatch()
            run.finish()
            """
        )
    )
    assert "watch() has no effect" in printed


def no_blob(content: bytes | memoryview | Path, note: Note) -> int:
    raise AssertionError("a histogram has none")


def counted(values: torch.Tensor, scale: torch.Tensor | None = None) -> dict[str, Any]:
    flat = dense(values)
    assert flat is not None
    said: dict[str, Any] = TensorHistogram(flat, scale).kept(no_blob)
    assert len(said["bins"]) == len(said["values"]) + 1
    return said


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int32])
def test_a_histogram_is_numpys(dtype: torch.dtype) -> None:
    values = (torch.randn(1000, generator=torch.Generator().manual_seed(1)) * 9).to(dtype)
    said = counted(values.reshape(10, 100))
    counts, edges = np.histogram(values.double().numpy(), bins=64)
    assert np.allclose(said["bins"], edges)
    assert np.abs(np.cumsum(said["values"]) - np.cumsum(counts)).max() <= 2  # values on an edge may be on either side
    assert sum(said["values"]) == 1000


def test_odd_values_are_counted_apart() -> None:
    assert counted(torch.tensor([1.0, 2.0, math.nan, math.inf, -math.inf]))["nonfinite"] == 3
    assert counted(torch.tensor([math.nan])) == {"_type": "histogram", "bins": [0.0], "values": [], "nonfinite": 1}
    assert counted(torch.zeros(5)) == {"_type": "histogram", "bins": [-0.5, 0.5], "values": [5]}
    greatest = torch.finfo(torch.float32).max
    said = counted(torch.tensor([-greatest, greatest]))
    assert (said["values"][0], said["values"][-1], "nonfinite" in said) == (1, 1, False)
    assert counted(torch.tensor([8.0, 16.0]), torch.tensor(8.0))["bins"][::64] == [1.0, 2.0]
    assert sum(counted(torch.tensor([1 + 2j]))["values"]) == 2


def test_what_has_no_values_has_no_histogram() -> None:
    assert dense(None) is None
    assert dense(torch.empty(0, 3)) is None
    assert dense(torch.empty(3, device="meta")) is None
    assert total_norm([None]) is None


def test_the_norm_is_of_all_tensors_together() -> None:
    sparse: Any = torch
    sparse = sparse.sparse_coo_tensor(torch.tensor([[0, 0]]), torch.tensor([1.0, 2.0]), (5,), check_invariants=True)
    norm = total_norm([torch.tensor([4.0]), None, sparse])
    assert norm is not None
    assert norm.item() == 5.0  # 3 of the sparse one, whose values of one place are summed up
