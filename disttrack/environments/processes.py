"""Kinship of processes: what multiprocessing and the environment say about a process's parent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from disttrack.environments.host import process_environ

__all__ = ["JOB_KEY", "PARENT", "has_multiprocessing_parent", "in_notebook", "inherited", "is_helper", "parent_journal"]

JOB_KEY = "DISTTRACK_JOB_KEY"
"""The secret of a job's nodes, for the node's process: transport.curve."""
PARENT = "DISTTRACK_PARENT"
"""The journal directory of the run that is open in this process, for the children it starts."""


def has_multiprocessing_parent(modules: Mapping[str, Any]) -> bool:
    """Say whether multiprocessing started this process."""
    process = modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None


def inherited(environ: Mapping[str, str], modules: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Say whether a launcher's variables were meant for the process that started this one by multiprocessing.

    Where they are this process's own, its parent (an agent that starts functions) was not started with them.
    """
    said = {name: environ[name] for name in names if name in environ}
    if not said or not has_multiprocessing_parent(modules):
        return False
    started_with = process_environ(modules["multiprocessing.process"].parent_process().pid) or {}
    return all(started_with.get(name) == value for name, value in said.items())


def in_notebook(modules: Mapping[str, Any]) -> bool:
    """Say whether a person types cells into this process: a Jupyter kernel, or one like it; not IPython's terminal."""
    ipython = modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return shell is not None and hasattr(shell, "kernel")


def is_helper(modules: Mapping[str, Any]) -> bool:
    """Say whether this process works for a rank and is none itself: a DataLoader worker, a daemonic child."""
    worker = modules.get("torch.utils.data._utils.worker")
    if worker is not None and worker.get_worker_info() is not None:
        return True
    process = modules.get("multiprocessing.process")
    return has_multiprocessing_parent(modules) and process is not None and bool(process.current_process().daemon)


def parent_journal(environ: Mapping[str, str]) -> Path | None:
    """Return the journal directory of the process that started this one with a run open."""
    path = environ.get(PARENT)
    return Path(path) if path else None
