"""Reads run logs ahead of who decodes them, many at a time where the file system is slow."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple, TypeVar

from disttrack.environments.files import open_plain
from disttrack.index.decoder import SegmentSeen
from disttrack.index.survey import changed_ns, segment_number, trusted

__all__ = ["Fetched", "ahead", "fetch_log"]

THREADS = 32  # of 5 ms a call, 10,000 runs take 5.6 s with 32 and 5.5 s with 128 threads (facts/runlog.md §2)
AHEAD = 128  # items at a time under way or waiting to be taken
PROBES = 8  # items that the calling thread does by itself before it judges how slow they are
SLOW_S = 0.0005  # for one of these: above it threads pay, below it they cost a sixth
WHOLE_BYTES = 256 << 10  # of a log: with AHEAD of them in memory, 32 MiB

_T = TypeVar("_T")
_R = TypeVar("_R")


class Fetched(NamedTuple):
    """A log as it was at one moment."""

    log_ns: int  # when its directory had changed, as survey.trusted tells it
    seen: dict[int, SegmentSeen]
    content: dict[int, bytes]  # of its segments; none where the log is too long to be held


def fetch_log(log: str) -> Fetched | None:
    """Return a log, with what its segments hold where that is little; None where it cannot be read."""
    try:
        log_ns = trusted(changed_ns(log), time.time_ns())
        seen: dict[int, SegmentSeen] = {}
        content: dict[int, bytes] = {}
        room = WHOLE_BYTES
        for name in os.listdir(log):
            number = segment_number(name)
            if number is not None:
                try:
                    fd = open_plain(f"{log}/{name}")
                except OSError as error:
                    if error.errno in (errno.ELOOP, errno.EINVAL):
                        continue  # a link or a pipe is no segment
                    raise
                try:
                    status = os.fstat(fd)
                    room -= status.st_size
                    if room >= 0:
                        content[number] = os.read(fd, status.st_size)
                finally:
                    os.close(fd)
                seen[number] = SegmentSeen(status.st_ino, status.st_size)
        if room < 0 or any(len(content[number]) < seen[number].size for number in seen):
            content = {}
        return Fetched(log_ns, seen, content)
    except (FileNotFoundError, NotADirectoryError):
        return Fetched(-1, {}, {})
    except OSError:
        return None


def ahead(function: Callable[[_T], _R], items: Iterable[_T]) -> Generator[_R]:
    """Yield function(item) for each item in turn; by threads, ahead of who takes them, where they prove slow."""
    rest = iter(items)
    spent_s = 0.0
    for count, item in enumerate(rest, 1):
        started = time.perf_counter()
        result = function(item)
        spent_s += time.perf_counter() - started
        yield result
        if count % PROBES == 0:
            if spent_s > PROBES * SLOW_S:
                break
            spent_s = 0.0
    pool = ThreadPoolExecutor(THREADS, "disttrack-fetch")
    try:
        under_way: deque[Future[_R]] = deque(pool.submit(function, item) for item in islice(rest, AHEAD))
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(pool.submit(function, item) for item in islice(rest, 1))
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
