"""What init's arguments start beside the run: hooks into other people's frameworks, and the script's own code."""

from __future__ import annotations

import importlib
import logging
from typing import Any

__all__ = ["HOOKS", "start_hook"]

_log = logging.getLogger("disttrack")

#: By the argument that asks for it: the module with its `start(run)`. By name: a room imports from lower floors only.
HOOKS = {"monitor_gym": "disttrack.integrations.gymnasium"}


def start_hook(argument: str, run: Any) -> None:
    """Start the hook that an argument of init asks for; where its framework is not to be had, say so."""
    try:
        importlib.import_module(HOOKS[argument]).start(run)
    except Exception as error:  # not installed, or of a version that this does not fit
        _log.warning("disttrack: %s=True has no effect: %s: %s", argument, type(error).__name__, error)
