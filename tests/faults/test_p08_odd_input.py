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
thread.start(); thread.join(300)
assert made == [first]
disttrack.log({"a": 1.0})
receipt = disttrack.finish()
disttrack.log({"a": 3.0})
assert disttrack.finish() == receipt
second = disttrack.init(project="p")
second.log({"a": 4.0})
thread = threading.Thread(target=second.finish)
thread.start(); thread.join(300)
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
        assert rank.process.wait(300) == 7
        assert (rank.stdout, rank.stderr) == ("begin\nend 100\n", "")
    assert sys.executable


ODD_PLACES = """
import collections, dataclasses, datetime, decimal, enum, fractions, io, json, sys, threading, uuid, weakref
from pathlib import Path
import numpy, pandas, torch
import disttrack

class Custom: pass
class Broken:
    def __repr__(self): raise RuntimeError("no repr")
    __str__ = __float__ = __iter__ = __len__ = __bool__ = __eq__ = __repr__
    __hash__ = object.__hash__
class Hostile:
    shape = (3,)
    def tolist(self): raise RuntimeError("no list")
class Endless:
    shape = ()
    def tolist(self): return self
class Floats(float): pass
class Ints(int): pass
class Texts(str): pass
class Dicts(dict): pass
class Colour(enum.Enum): RED = "r"
class Level(enum.IntEnum): LOW = 1
@dataclasses.dataclass
class Point: x: float = 1.0; other: object = None
Pair = collections.namedtuple("Pair", "a b")
recursive = {}; recursive["self"] = recursive
looped = []; looped.append(looped)
deep = {}
for _ in range(2000): deep = {"d": deep}
list_deep = []
for _ in range(2000): list_deep = [list_deep]
gone = Custom(); ref = weakref.ref(gone)

VALUES = {
    "nan": float("nan"), "inf": float("inf"), "minus inf": -float("inf"), "minus zero": -0.0, "tiny": 5e-324,
    "2**63": 2**63, "-2**63": -2**63, "2**64": 2**64, "10**400": 10**400, "10**20000": 10**20000, "true": True,
    "np bool": numpy.True_, "half": numpy.float16(1.5), "longdouble": numpy.longdouble(1.5),
    "uint64": numpy.uint64(2**64 - 1),
    "np int8": numpy.int8(-3), "datetime64": numpy.datetime64("2026-01-01"), "nat": numpy.datetime64("NaT"),
    "timedelta64": numpy.timedelta64(3, "s"), "complex": 1j, "complex64": numpy.complex64(1j), "0-d": numpy.array(2.0),
    "vector": numpy.arange(3.0), "matrix": numpy.eye(2), "empty array": numpy.zeros(0), "large": numpy.zeros(1_000_000),
    "object array": numpy.array([object()]), "texts array": numpy.array(["a", "b"]), "np str": numpy.str_("x"),
    "np bytes": numpy.bytes_(b"x"), "masked": numpy.ma.masked, "structured": numpy.zeros(2, "i4,f8"),
    "tensor": torch.tensor(1.5), "bfloat16": torch.tensor(1.5, dtype=torch.bfloat16),
    "grad": torch.tensor(2.0, requires_grad=True), "ints": torch.arange(3), "bools": torch.tensor([True, False]),
    "meta": torch.empty(2, device="meta"), "sparse": torch.eye(3).to_sparse(),
    "parameter": torch.nn.Parameter(torch.ones(2)),
    "complex tensor": torch.tensor(1j), "dtype": torch.float32, "module": torch.nn.Linear(1, 1),
    "bytes": b"\\xff\\x00", "bytearray": bytearray(b"a"), "memoryview": memoryview(b"abc"),
    "text": "e\\u0301 \\U0001f600",
    "surrogate": "\\ud800", "nul": "a\\0b", "long": "x" * 1_000_000,
    "markup": "<img onerror=x>",
    "set": {1, 2}, "frozenset": frozenset({1}), "tuple": (1, None), "range": range(3),
    "generator": (i for i in range(3)),
    "views": {}.keys(), "items": [1, object(), 2], "many": list(range(20_000)), "empty": {}, "empty list": [],
    "recursive": recursive, "looped": looped, "deep": deep, "list deep": list_deep, "int keys": {1: 2, "a": 3},
    "decimal": decimal.Decimal("1.1"), "fraction": fractions.Fraction(1, 3), "uuid": uuid.UUID(int=1),
    "path": Path("a/b"),
    "datetime": datetime.datetime(2026, 1, 1), "date": datetime.date(2026, 1, 1), "time": datetime.time(1),
    "timedelta": datetime.timedelta(1), "enum": Colour.RED, "int enum": Level.LOW, "dataclass": Point(other=Custom()),
    "namedtuple": Pair(1, 2), "object": Custom(), "broken": Broken(), "hostile": Hostile(), "endless": Endless(),
    "type": Custom,
    "lambda": lambda: 0, "python module": sys, "exception": ValueError("x"), "none": None, "ellipsis": ...,
    "not implemented": NotImplemented, "file": io.StringIO("x"), "lock": threading.Lock(), "weakref": ref,
    "floats": Floats(1.5), "ints of a class": Ints(3), "texts": Texts("x"), "dicts": Dicts(a=1),
    "series": pandas.Series([1.0, 2.0]), "timestamp": pandas.Timestamp("2026-01-01"), "na": pandas.NA,
}
NAMES = ["", " ", "\\0", "a\\nb", "<img onerror=x>", "../../etc/x", "k" * 1_000_000, "\\ud800", "a.b", "a..b", ".",
    "e\\u0301",
         "\\u202eabc", "__class__", "step", "rank", "time", "_step", "*", "\\x1b[31m", "loss.min"]
LABELS = [None, 3, "", "\\0", "half \\ud800", "x" * 100_000, ["a"], b"b", Broken(), float("nan")]
run = disttrack.init(project="p")
step = 0
for name, value in VALUES.items():
    run.log({"good": float(step), name: value}, step=step); step += 1
    run.summary["summary " + name] = value
    run.config[name] = value
    run.config.update({"in " + name: {"deeper": value}})
for name in NAMES:
    run.log({"good": float(step), name: 1.0}, step=step); step += 1
    run.config["name " + name] = 1
    run.define_metric(name, summary="max")
for key in [1, None, (1, 2), b"k", 1.5, Custom()]:
    run.log({"good": float(step), key: 1.0}, step=step); step += 1
for label in LABELS:
    run.name, run.notes, run.tags = label, label, label
    run.alert(label, label, level=label, wait_duration=label)
    run.define_metric(label, step_metric=label, summary=label, goal=label, hidden=bool, overwrite=None)
dict(run.summary), run.status(), repr(run), run.name, run.notes, run.tags
receipt = run.finish()
assert receipt.logged == receipt.stored + receipt.dropped, receipt
print(json.dumps({"rows": step, "dropped": receipt.dropped, "values": list(VALUES), "names": NAMES}))
"""


@pytest.mark.real(timeout_s=120)
def test_no_odd_value_name_or_label_raises_or_vanishes_unsaid(job: Job) -> None:
    output = job.site.python(job.site.script(ODD_PLACES))
    assert "Traceback" not in output
    said = json.loads(output.splitlines()[-1])
    assert len(said["values"]) > 90
    run = job.site.only_run()
    assert job.site.steps(run["id"], "good") == {0: list(range(said["rows"]))}
    kept = {key.split(".")[0] for key in run["summary"]}
    for name in said["values"]:
        assert name in kept or f"left out {name!r}" in output or f"left out '{name}." in output, name
        assert f"summary {name}" in kept or f"left out 'summary {name}" in output, name
        assert name in run["config"] or f"config {name!r}" in output, name
    keys = {key for key in run["summary"] if not key.startswith("summary ")}
    for name in said["names"]:
        assert name.encode("utf-8", "backslashreplace").decode() in keys, f"{name!r:.40}"
    assert run["name"]
    wait_until(no_writer, "the writer has gone")
