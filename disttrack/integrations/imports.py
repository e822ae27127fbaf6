"""Calls back when a module is there: at once where it is imported, else right after its import.

No framework is ever imported for its hook: whoever does not use torch does not load it.
"""

from __future__ import annotations

import importlib.abc
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["when_imported"]

_log = logging.getLogger("disttrack")


def when_imported(module: str, call: Callable[[], None]) -> None:
    """Call once the module is imported. What the call raises is said; the import is never disturbed."""
    if sys.modules.get(module) is not None:
        _called(module, call)
    else:
        _finder.wait(module, call)


def _called(module: str, call: Callable[[], None]) -> None:
    try:
        call()
    except Exception as error:  # of a version that this does not fit
        _log.warning("disttrack: nothing of %s is recorded: %s: %s", module, type(error).__name__, error)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what the other finders find, and learns when that has run."""

    def __init__(self) -> None:
        self._calls: dict[str, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def wait(self, module: str, call: Callable[[], None]) -> None:
        with self._lock:
            self._calls.setdefault(module, []).append(call)
            if self not in sys.meta_path:
                sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if fullname not in self._calls:
            return None
        for finder in [finder for finder in sys.meta_path if finder is not self]:
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                self._follow(fullname, spec)
                return spec
        return None

    def _follow(self, module: str, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        if loader is None or isinstance(loader, type):  # built in: not what anybody waits for
            return
        execute: Callable[[ModuleType], None] = loader.exec_module

        def exec_module(loaded: ModuleType) -> None:
            del loader.exec_module  # its class has it
            execute(loaded)
            with self._lock:
                calls = self._calls.pop(module, [])
            for call in calls:
                _called(module, call)

        loader.exec_module = exec_module  # of this one loader, for this one import


_finder = _Finder()
