"""P8: after init nothing raises into training, whatever is logged, wherever, with whatever environment."""

from __future__ import annotations

import json
import sys

import pytest

from tests.faults.jobs import Job, no_writer
from tests.road.site import wait_until

ODD = """
import json, sys
import numpy, torch
import disttrack

class Custom: pass
class Broken:
    def __repr__(self): raise RuntimeError("no repr")
    def __float__(self): raise RuntimeError("no float")
    def __iter__(self): raise RuntimeError("no iter")
    __str__ = __repr__

recursive = {}; recursive["self"] = recursive
looped = []; looped.append(looped)
deep = {}
for _ in range(2000): deep = {"d": deep}
ODD = {
    "nan": float("nan"), "inf": float("inf"), "2**63": 2**63, "10**400": 10**400, "-2**63": -2**63,
    "torch": torch.tensor(1.5), "bfloat16": torch.tensor(1.5, dtype=torch.bfloat16),
    "grad": torch.tensor(2.0, requires_grad=True), "numpy": numpy.array(2.0), "vector": numpy.arange(3.0),
    "tensor": torch.arange(3), "bytes": b"\\xff\\x00", "object": Custom(), "broken": Broken(), "type": Custom,
    "recursive": recursive, "looped": looped, "deep": deep, "surrogate": "\\ud800", "set": {1, 2}, "lambda": lambda: 0,
    "complex": 1j, "none": None, "empty": {}, "long": "x" * 1_000_000, "nat": numpy.datetime64("NaT"),
    "object array": numpy.array([object()]), "meta": torch.empty(2, device="meta"), "generator": (i for i in range(3)),
}
KEYS = ["", "\\0", "a\\nb", "<img onerror=x>", "../../etc/x", "k" * 1_000_000, "\\ud800", "a.b", "é"]
run = disttrack.init(project="p")
step = 0
for name, value in ODD.items():
    run.log({"good": float(step), "odd": value}, step=step); step += 1
    run.config[name] = value
    run.summary[name] = value
    run.config.update({"in " + name: {"deeper": value}})
for key in [*KEYS, 1, None, (1, 2), b"k", 1.5, Custom()]:
    run.log({"good": float(step), key: 1.0}, step=step); step += 1
for data in [None, 5, "text", [1], Custom(), Broken(), iter(())]:
    run.log(data)
for bad in ["x", 2.5, 10**30, Broken(), float("nan"), b"1", []]:
    run.log({"lost": 1.0}, step=bad)
receipt = run.finish()
assert receipt.logged == receipt.stored + receipt.dropped, receipt
print(json.dumps({"rows": step, "dropped": receipt.dropped}))
"""


@pytest.mark.real(timeout_s=90)
def test_no_odd_value_raises_or_costs_its_neighbour(job: Job) -> None:
    output = job.site.python(job.site.script(ODD))
    said = json.loads(output.splitlines()[-1])
    assert said["dropped"] == 7 + 7  # what is no dict, and what is no step
    assert "Traceback" not in output
    run = job.site.only_run()
    assert job.site.steps(run["id"], "good") == {0: list(range(said["rows"]))}
    assert run["receipt"]["dropped"] == said["dropped"]
    wait_until(no_writer, "the writer has gone")


INIT_ANYWHERE = """
import threading
import disttrack
first = disttrack.init(project="p")
assert disttrack.init(project="p") is first
made = []
def other():
    made.append(disttrack.init(project="p"))
    disttrack.log({"a": 2.0})
thread = threading.Thread(target=other)
thread.start(); thread.join(10)
assert made == [first]
disttrack.log({"a": 1.0})
receipt = disttrack.finish()
disttrack.log({"a": 3.0})
assert disttrack.finish() == receipt
second = disttrack.init(project="p")
second.log({"a": 4.0})
thread = threading.Thread(target=second.finish)
thread.start(); thread.join(60)
print(receipt.stored, second.finish().stored, first.id != second.id)
"""


@pytest.mark.real(timeout_s=60)
def test_init_twice_in_a_thread_and_after_finish(job: Job) -> None:
    output = job.site.python(job.site.script(INIT_ANYWHERE))
    assert output.splitlines()[-1] == "2 1 True"
    assert len(job.site.ls()) == 2


@pytest.mark.real(timeout_s=120)
@pytest.mark.parametrize("lacks", ["no HOME", "HOME nowhere", "HOME unwritable", "TMPDIR missing"])
def test_what_the_environment_lacks_is_not_needed(job: Job, lacks: str) -> None:
    env = {
        "no HOME": {"HOME": ""},
        "HOME nowhere": {"HOME": "/nonexistent"},
        "HOME unwritable": {"HOME": "/proc"},
        "TMPDIR missing": {"TMPDIR": "/nonexistent/tmp"},
    }[lacks]
    rank = job.start(env=env, steps=100)
    rank.end()
    assert rank.stderr == ""
    assert rank.receipt["stored"] == 100


@pytest.mark.real(timeout_s=60)
def test_a_script_ends_with_the_tracker_as_without_it(job: Job) -> None:
    for tracked in (True, False):
        rank = job.start(tracked=tracked, steps=100, exit_code=7)
        assert rank.process.wait(60) == 7
        assert (rank.stdout, rank.stderr) == ("begin\nend 100\n", "")
    assert sys.executable
