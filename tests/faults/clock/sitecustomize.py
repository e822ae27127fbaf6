"""A wall clock that jumps: each Python process with this directory on its path adds what $CLOCK_OFFSET_FILE says.

Only the wall clock, as when a person or NTP sets it; time.monotonic goes on. (libfaketime would reach C code as well,
but its clock_nanosleep refuses what Python 3.11 asks of it.)
"""

import os
import time

__all__: list[str] = []

_real_ns = time.time_ns
_offset = os.open(os.environ["CLOCK_OFFSET_FILE"], os.O_RDONLY | os.O_CLOEXEC)


def _jumped_ns() -> int:
    return _real_ns() + int(os.pread(_offset, 32, 0) or b"0") * 1_000_000_000


def _jumped() -> float:
    return _jumped_ns() / 1e9


time.time_ns, time.time = _jumped_ns, _jumped
