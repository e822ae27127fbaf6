"""P14: what was logged is what is read, bit by bit, also when the writer died meanwhile."""

from __future__ import annotations

import json
import struct

import pytest

import disttrack
from tests.faults.jobs import Job, no_writer
from tests.road.site import wait_until

SCRIPT = """
import json, os, pathlib, random, signal, struct, sys
import disttrack
chance = random.Random(int(sys.argv[1]))
special = [0x0, 1 << 63, 0x7FF0 << 48, 0xFFF0 << 48, 0x7FF8 << 48, 1, (1 << 63) | 1, 0x7FEFFFFFFFFFFFFF, 0x0010 << 48]
floats = [struct.unpack("<d", struct.pack("<Q", bits))[0]
          for bits in special + [chance.getrandbits(64) for _ in range(500)]]
ints = [0, -1, 2**63 - 1, -(2**63), 2**53 + 1] + [chance.randrange(-(2**63), 2**63) for _ in range(500)]
run = disttrack.init(project="p")
run._recorder.sender.welcomed.wait()
for step, value in enumerate(floats):
    run.log({"float": value}, step=step)
    if step == 250:
        [record] = pathlib.Path(os.environ["DISTTRACK_RUNTIME_DIR"]).glob("claims/*.json")
        os.kill(json.loads(record.read_bytes())["pid"], signal.SIGKILL)
for step, value in enumerate(ints):
    run.log({"int": value}, step=step)
run.log({"big": 10**400}, step=0)
run.log({"big": -(2**63) - 1}, step=1)
print(run.finish())
print(json.dumps([[struct.pack("<d", value).hex() for value in floats], ints]))
"""


@pytest.mark.real(timeout_s=90)
def test_numbers_come_back_bit_by_bit(job: Job) -> None:
    output = job.site.python(job.site.script(SCRIPT), 5).splitlines()
    assert "0 pending, 0 dropped" in output[-2]
    floats, ints = json.loads(output[-1])
    wait_until(no_writer, "the writer has gone")
    with disttrack.Api(job.site.directory) as api:
        [run] = api.runs("p")
        read = run.history(keys=["float"])["float"]
        read_ints = run.history(keys=["int"])["int"]
    assert [struct.pack("<d", value).hex() for value in read.tolist()] == floats
    assert [int(value) for value in read_ints.tolist()] == ints
    big = [row["value"] for row in job.site.export(job.site.ls()[0]["id"], "--keys", "big")]
    assert [str(value) for value in big] == [str(10**400), str(-(2**63) - 1)]
