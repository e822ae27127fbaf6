"""What init gets under Ray where the user said nothing: an absolute directory, the experiment as group, its project."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from disttrack.api.attach import default_project
from disttrack.environments.ray import Experiment
from disttrack.errors import UsageError
from disttrack.settings import load

__all__ = ["CHECKPOINT", "InitArguments", "init_arguments", "with_experiment"]

CHECKPOINT = "checkpoint"
"""The key of a run's summary that says where its newest checkpoint lies."""
_NOT_IN_ARGUMENTS = ("config", "config_include_keys", "config_exclude_keys", "settings")


class InitArguments(NamedTuple):
    """Arguments of init: those that are settings, and the others."""

    arguments: dict[str, Any]
    others: dict[str, Any]


def init_arguments(given: Mapping[str, Any]) -> InitArguments:
    """Return the arguments of init with what this process, a driver, knows and a worker elsewhere would not.

    Raises UsageError for a directory that is not absolute: a trial's current directory is its own.
    """
    arguments = {name: value for name, value in given.items() if name not in _NOT_IN_ARGUMENTS}
    others = {name: given[name] for name in _NOT_IN_ARGUMENTS if name in given}
    settings = load(others.get("settings"), arguments)
    directory = settings.dir
    if directory is not None:
        arguments["dir"] = _absolute(os.fspath(directory))
    arguments["project"] = settings.project or default_project()
    return InitArguments(arguments, others)


def _absolute(directory: str) -> str:
    if not os.path.isabs(directory):
        raise UsageError(
            f"dir={directory!r:.200} cannot be used under Ray",
            "it is relative, and each trial or worker has a current directory of its own",
            "Give an absolute path that exists on the head node, or leave it out for the experiment's storage path.",
        )
    return directory


def with_experiment(arguments: Mapping[str, Any], experiment: Experiment | None) -> dict[str, Any]:
    """Return arguments of init with what an experiment gives: its name as group, its storage path as directory.

    Raises UsageError where neither the user nor the experiment names a directory.
    """
    found = {name: value for name, value in arguments.items() if value is not None}
    if experiment is None:
        return found
    if experiment.name:
        found.setdefault("group", experiment.name)
    if "dir" not in found and load().dir is None:
        if experiment.storage is None:
            raise UsageError(
                "This experiment's runs have no directory to lie in",
                "its storage path is no local or mounted directory",
                "Pass dir=, an absolute path that exists on the head node.",
            )
        found["dir"] = experiment.storage
    if "dir" in found:
        _absolute(os.fspath(found["dir"]))
    return found
