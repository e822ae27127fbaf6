"""What init's arguments start beside the run: hooks into other people's frameworks, and the script's own code."""

from __future__ import annotations

import importlib
import logging
from types import ModuleType
from typing import Any

from disttrack.settings import Settings

__all__ = ["HOOKS", "hook", "start_hook", "start_hooks"]

_log = logging.getLogger("disttrack")

#: By what asks for it: the module with its functions. By name: a room imports from lower floors only. Not by entry
#: points, which read the metadata of every installed package (decision 28).
HOOKS = {
    "magic": "disttrack.integrations.magic",
    "monitor_gym": "disttrack.integrations.gymnasium",
    "notebook": "disttrack.integrations.notebook",
    "sync_tensorboard": "disttrack.integrations.tensorboard",
    "watch": "disttrack.integrations.watching",
}


def hook(name: str) -> ModuleType:
    """Return the module of a hook; raise ImportError where its framework is not installed."""
    return importlib.import_module(HOOKS[name])


def start_hook(argument: str, run: Any, value: object = True) -> None:
    """Start the hook that an argument of init asks for by its value; where its framework is not to be had, say so."""
    try:
        hook(argument).start(run, value)
    except Exception as error:  # not installed, or of a version that this does not fit
        _log.warning("disttrack: %s=True has no effect: %s: %s", argument, type(error).__name__, error)


def start_hooks(settings: Settings, run: Any) -> None:
    """Start every hook that these settings ask for."""
    for argument in HOOKS:
        value = getattr(settings, argument, None)
        if value:
            start_hook(argument, run, value)
