"""What a disk may hold after a power cut, from a trace of what was written to it and synced (strace -ff -ttt -T -y)."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["TRACE", "Disk", "How", "WrittenFile"]

#: strace's options; one file a thread, so that no call's line is cut in two.
TRACE = ("strace", "-ff", "-ttt", "-T", "-y", "-s", "0", "-e", "trace=pwrite64,write,fdatasync,fsync")

#: How much of what was written and not synced survives: nothing, all, a part, or its length without its bytes.
How = Literal["nothing", "all", "part", "zeros"]

_CALL = re.compile(
    r"(?P<at>[\d.]+) (?P<name>\w+)\(\d+<(?P<path>[^>]+)>(?P<rest>.*)\)"
    r" += (?P<got>-?\d+)(?P<error> .*)? <(?P<took>[\d.]+)>"
)


@dataclass
class WrittenFile:
    """One file: its writes (when it was done, where it ended) and its syncs (when it began, when it was done).

    refused: syncs that failed. What they should have brought to the disk never gets there, as kernels have it: they
    call it clean, and no later sync of the file says anything of it.
    """

    writes: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    syncs: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    refused: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])

    def written(self, at: float) -> int:
        """Return how long the file was at a time."""
        return max((end for done, end in self.writes if done <= at), default=0)

    def safe(self, at: float) -> int:
        """Return up to where it was on the disk at a time."""
        began = max((began for began, done in self.syncs if done <= at), default=0.0)
        return self.written(began)

    def dropped(self, at: float) -> list[tuple[int, int]]:
        """Return what failed syncs up to a time have kept from the disk for ever."""
        return [(self.safe(began), self.written(done)) for began, done in self.refused if done <= at]

    @property
    def made(self) -> float:
        """When it was first written to."""
        return self.writes[0][0] if self.writes else float("inf")


class Disk:
    """The files that were written under a trace, with what they hold now."""

    def __init__(self, traces: Sequence[Path], suffixes: tuple[str, ...]) -> None:
        """suffixes: of the files that matter."""
        self.files: dict[Path, WrittenFile] = defaultdict(WrittenFile)
        calls = [match for trace in traces for line in trace.read_text().splitlines() if (match := _CALL.match(line))]
        for call in sorted(calls, key=lambda call: float(call["at"])):
            path, began = Path(call["path"]), float(call["at"])
            done = began + float(call["took"])
            if path.suffix not in suffixes:
                continue
            file = self.files[path]
            if int(call["got"]) < 0:
                if call["name"] in ("fdatasync", "fsync"):
                    file.refused.append((began, done))
            elif call["name"] == "pwrite64":
                file.writes.append((done, int(call["rest"].rsplit(",", 1)[1]) + int(call["got"])))
            elif call["name"] == "write":  # to the end: O_APPEND
                file.writes.append((done, (file.writes[-1][1] if file.writes else 0) + int(call["got"])))
            else:
                file.syncs.append((began, done))
        self._now = {path: path.read_bytes() for path in self.files if path.exists()}

    def restore(self, at: float, how: How, chance: random.Random) -> None:
        """Leave on the disk what a power cut at that time may have left of each file."""
        for path, file in self.files.items():
            safe, written = file.safe(at), file.written(at)
            kept = {"nothing": safe, "part": chance.randint(safe, written)}.get(how, written)
            data = self._now[path][:kept]
            if how == "zeros":  # the file's length was on the disk before its bytes were
                data = data[:safe] + bytes(len(data) - safe)
            for start, end in file.dropped(at):
                data = data[:start] + bytes(min(end, len(data)) - start) + data[end:] if start < len(data) else data
            # Its name is on the disk where a file that was made later was synced.
            if data or any(other.made > file.made and other.safe(at) for other in self.files.values()):
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.write_bytes(data)
            else:
                path.unlink(missing_ok=True)
