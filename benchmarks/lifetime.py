"""A process from import to finish. Imports nothing by itself, so that each import is paid where it is measured."""

import importlib
import time

__all__ = ["begin_and_end", "import_limit"]


def import_limit() -> float:
    """In a process of its own: ms to import msgspec and what of the standard library such a package needs."""
    began = time.perf_counter()
    for name in ("dataclasses", "logging", "pathlib", "socket", "subprocess", "threading", "msgspec"):
        importlib.import_module(name)
    return 1_000 * (time.perf_counter() - began)


def begin_and_end() -> dict[str, float]:
    """In a process of its own: ms of import, init and finish with nothing pending, and of what limits the last two."""
    marks_s = [time.perf_counter()]

    def mark() -> float:
        marks_s.append(time.perf_counter())
        return 1_000 * (marks_s[-1] - marks_s[-2])

    import disttrack

    import_ms = mark()
    run = disttrack.init(project="bench")
    init_ms = mark()

    import os
    import threading
    from pathlib import Path

    directory = Path("limit", "journal")
    mark()
    directory.mkdir(parents=True)
    (directory / "file").write_bytes(bytes(500))
    threading.Thread(target=time.sleep, args=(0.1,), daemon=True).start()
    init_limit_ms = mark()

    run.log({"loss": 1.0})
    assert run.id
    time.sleep(1.5)  # until the row is stored
    mark()
    receipt = run.finish()
    finish_ms = mark()
    assert receipt.stored == 1
    file = os.open("limit/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    mark()
    os.write(file, bytes(100))
    os.fdatasync(file)
    finish_limit_ms = mark()
    return {
        "import": import_ms,
        "init": init_ms,
        "init limit": init_limit_ms,
        "finish": finish_ms,
        "finish limit": finish_limit_ms,
    }
