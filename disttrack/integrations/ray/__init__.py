"""Ray: trials and train workers as runs and ranks, and histories as data sets.

In: what Ray calls, and runs that were logged. Out: runs, and ray.data.Datasets. Only what is asked for is imported:
ray.data takes a second, and a trial has no use for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from disttrack.integrations.ray.history import read_history

__all__ = ["read_history"]

_MODULES = {"read_history": "history"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
