"""How a process ended, told by the kernel also to those who did not start it."""

from __future__ import annotations

import os
import signal
import struct
import sys
from typing import NamedTuple

__all__ = ["UNKNOWN", "Ending", "ending_of", "signal_name"]

# include/uapi/linux/pidfd.h of Linux 6.15: _IOWR(0xFF, 11, struct pidfd_info) with the struct's first, 64-byte form.
# A later kernel fills no more of it than its caller's size says.
PIDFD_GET_INFO = 0xC040FF0B
PIDFD_INFO_EXIT = 1 << 3
INFO_BYTES = 64
MASK_AT, EXIT_CODE_AT = 0, 60


class Ending(NamedTuple):
    """The exit code of a process, or the number of the signal it died of; neither where that cannot be known.

    exception: what the process left for its launcher about it.
    """

    exit_code: int | None = None
    signal: int | None = None
    exception: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it is known that the process did not end with exit code 0."""
        return self.signal is not None or bool(self.exit_code) or self.exception is not None

    @property
    def led(self) -> int:
        """How likely others ended because of it, of processes seen dead at one look: 0 first.

        Whoever was told to go (SIGTERM) comes last, and before that one of whom nothing is known.
        """
        return 2 if self.signal == signal.SIGTERM else 1 if self == UNKNOWN else 0


UNKNOWN = Ending()


def ending_of(pid: int, start_time: int, pidfd: int = -1) -> Ending:
    """Return how the process ended; UNKNOWN while it lives.

    The pidfd tells once the process was reaped (Linux 6.15 and later); before that its entry in the process table
    does. Fallback without both: UNKNOWN.
    """
    if sys.platform != "linux":
        return UNKNOWN
    status = _reaped(pidfd)
    if status is None:
        status = _unreaped(pid, start_time)
    if status is None:
        status = _reaped(pidfd)  # between the two looks
    if status is None:
        return UNKNOWN
    if os.WIFSIGNALED(status):
        return Ending(signal=os.WTERMSIG(status))
    return Ending(exit_code=os.WEXITSTATUS(status))


def signal_name(number: int) -> str:
    """Return a signal's name, as SIGKILL; `signal 40` for one that has none here."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _reaped(pidfd: int) -> int | None:
    """Return the wait status of a process that was reaped."""
    if pidfd < 0:
        return None
    import fcntl  # not on Windows

    info = bytearray(INFO_BYTES)
    struct.pack_into("<Q", info, MASK_AT, PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    except OSError:  # an older kernel; or 6.13 and 6.14, which know no more of the dead
        return None
    if not struct.unpack_from("<Q", info, MASK_AT)[0] & PIDFD_INFO_EXIT:
        return None
    status: int = struct.unpack_from("<i", info, EXIT_CODE_AT)[0]
    return status


def _unreaped(pid: int, start_time: int) -> int | None:
    """Return the wait status of a process that waits to be reaped; field 52 of its line (proc_pid_stat(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    fields = line[line.rindex(b")") + 2 :].split()
    if fields[0] not in (b"Z", b"X") or int(fields[19]) != start_time:
        return None
    return int(fields[49])
