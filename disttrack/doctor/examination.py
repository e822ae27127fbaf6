"""The examination: every check, side by side, each within its time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from disttrack.doctor.access import check_access
from disttrack.doctor.clocks import check_clock
from disttrack.doctor.disks import check_index, check_journal_place, check_root, check_runtime
from disttrack.doctor.findings import GROUPS, Check, Finding, Surroundings, failed
from disttrack.doctor.journals import check_journals
from disttrack.doctor.meetings import check_meetings
from disttrack.doctor.patience import gather
from disttrack.doctor.place import check_place, check_settings
from disttrack.doctor.processes import check_processes
from disttrack.doctor.runs import check_runs
from disttrack.doctor.versions import check_versions
from disttrack.environments.detect import detect, single
from disttrack.environments.host import hostname, runtime_directory
from disttrack.errors import UnsafeDirectory, UsageError
from disttrack.settings import PREFIX, ROOT_NAME, Settings, load

__all__ = ["LIMIT_S", "Report", "examine"]

LIMIT_S = 9.0  # a store, a port and a writer that do not answer one after the other take 6.5 s

PLACES = ("DISTTRACK_DIR", "DISTTRACK_RUNTIME_DIR", "DISTTRACK_JOURNAL_DIR", "DISTTRACK_CACHE_DIR")

#: Those that look at this process; all others look at the node, once for all its ranks.
OF_PROCESS = (Check("this process", "rank", check_place), Check("the settings", "settings", check_settings))
OF_NODE = (
    Check("the processes", "processes", check_processes),
    Check("the places to meet", "meeting", check_meetings),
    Check("the journals", "journals", check_journals),
    Check("the runs", "runs", check_runs),
    Check("the directory of the runs", "disks", check_root),
    Check("the place of journals", "disks", check_journal_place),
    Check("the runtime directory", "disks", check_runtime),
    Check("the index", "disks", check_index),
    Check("this node's clock", "clocks", check_clock),
    Check("who can read it", "access", check_access),
    Check("the versions", "versions", check_versions),
)


@dataclass(frozen=True)
class Report:
    """What an examination found, in the order of GROUPS.

    partial: the node was left to the process of its local rank 0. time: unix seconds.
    """

    host: str
    time: float
    root: Path
    rank: int | None
    partial: bool
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Say whether nothing is wrong."""
        return not any(finding.level == "failed" for finding in self.findings)


def examine(environ: Mapping[str, str], modules: Mapping[str, Any], directory: str | None = None) -> Report:
    """Examine this process, this node and the job around it; directory: that of the runs, where not the settings'."""
    around, found = _look_around(environ, modules, directory)
    rank = around.identity.rank
    partial_ = rank.world_size > 1 and (rank.local_rank or 0) != 0  # where that is unknown, each examines the node
    checks = OF_PROCESS if partial_ else (*OF_PROCESS, *OF_NODE)
    found += run_checks(checks, around)
    order = list(GROUPS)
    return Report(
        host=hostname(),
        time=time.time(),
        root=around.root,
        rank=rank.rank if rank.world_size > 1 else None,
        partial=partial_,
        findings=tuple(sorted(found, key=lambda finding: order.index(finding.group))),
    )


def run_checks(checks: Sequence[Check], around: Surroundings, limit_s: float = LIMIT_S) -> list[Finding]:
    """Return what checks found; one that fails, or is not done in time, is a finding itself."""
    found: list[Finding] = []
    results = gather([partial(check.run, around) for check in checks], limit_s)
    for check, gathered in zip(checks, results, strict=True):
        found += gathered.items
        if gathered.error is not None:
            text = f"the check of {check.what} could not be made: {type(gathered.error).__name__}: {gathered.error}"
            found.append(failed(f"{check.group}.unchecked", text, "mend what it names, or report it as a bug"))
        elif not gathered.done:
            text = f"the check of {check.what} did not end within {limit_s:g} s"
            fix = (
                "a file system or name server behind it does not answer: ls and getent on what is named here tell which"
            )
            found.append(failed(f"{check.group}.unchecked", text, fix))
    return found


def _settings(environ: Mapping[str, str]) -> Settings:
    """Return the settings; where one cannot be used, those that say where things lie (check_settings tells)."""
    places = {name: value for name, value in environ.items() if not name.startswith(PREFIX) or name in PLACES}
    for tried in (environ, places):
        try:
            return load(environ=tried)
        except UsageError:
            continue
    return Settings()


def _look_around(
    environ: Mapping[str, str], modules: Mapping[str, Any], directory: str | None
) -> tuple[Surroundings, list[Finding]]:
    """Return where we are."""
    found: list[Finding] = []
    settings = _settings(environ)
    try:
        identity = detect(environ, modules, settings)
    except UsageError as error:
        found.append(failed("rank.detected", f"init() will refuse to start: {error.what}, {error.why}", error.mend))
        identity = single(settled=True)
    runtime: Path | None = None
    try:
        runtime = runtime_directory(settings.runtime_dir)
    except (OSError, UnsafeDirectory) as error:
        found.append(failed("access.runtime", str(error), "name one that is yours with DISTTRACK_RUNTIME_DIR"))
    root = Path(directory or settings.dir or ".").absolute() / ROOT_NAME
    return Surroundings(environ, modules, settings, identity, root, runtime), found
