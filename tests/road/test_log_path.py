"""What log() costs the thread that calls it: one system call, no waiting, whatever the writer does (P7)."""

import re
import sys
from collections import Counter
from collections.abc import Callable

import pytest

from tests.faults.jobs import may_sleep
from tests.road.site import Site

ROWS = 3000
LOG = """
import json, os, pathlib, resource, sys
import disttrack, psutil
run = disttrack.init(project="p")
run.log({"a": 0.0})
run._recorder.sender.welcomed.wait()  # the writer is there
fault = sys.argv[1]
if fault != "none":
    [record] = pathlib.Path(os.environ["DISTTRACK_RUNTIME_DIR"]).glob("claims/*.json")
    writer = psutil.Process(json.loads(record.read_bytes())["pid"])
    getattr(writer, fault)()
os.path.exists("/begin")  # two marks to find in a trace
before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
for step in range(3000):
    run.log({"a": 1.0, "b": 2.0}, step=step)
slept = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before
os.path.exists("/end")
if fault == "suspend":
    writer.resume()
print("slept", slept, run.finish())
"""


@pytest.mark.parametrize("fault", ["none", "suspend", "kill"])
def test_log_does_not_sleep_whether_the_writer_runs_is_stopped_or_dead(site: Site, fault: str) -> None:
    output = site.python(site.script(LOG), fault)
    slept = int(re.findall(r"slept (\d+)", output)[0])
    assert slept <= may_sleep(ROWS)
    assert f"{ROWS + 1:,} stored" in output


def test_log_is_one_write_and_asks_nothing_else_of_the_system(
    site: Site, require_program: Callable[[str], str]
) -> None:
    trace = site.directory / "trace"
    # Only this thread: the sender's calls are its own.
    site.run(require_program("strace"), "-o", trace, sys.executable, site.script(LOG), "none")
    lines = trace.read_text().splitlines()
    begin, end = (next(at for at, line in enumerate(lines) if f'"/{mark}"' in line) for mark in ("begin", "end"))
    calls = Counter(match[0] for line in lines[begin + 1 : end] if (match := re.match(r"\w+", line)))
    assert calls.pop("pwrite64") == ROWS
    assert calls.pop("getrusage") == 2
    # What Python itself does now and then: memory, and the interpreter's lock against the sender's thread.
    assert set(calls) <= {"brk", "mmap", "munmap", "futex"}
    assert calls["futex"] <= may_sleep(ROWS)
