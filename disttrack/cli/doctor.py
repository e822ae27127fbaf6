"""The verb doctor: an examination as text with ✓, ! and ✗, or as strict JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import groupby

import click

from disttrack.cli.output import count, day_time, iso, printable, say_json
from disttrack.cli.reading import as_json, in_directory
from disttrack.cli.tables import Terminal
from disttrack.doctor.examination import Report, examine
from disttrack.doctor.findings import GROUPS, Finding, Level

__all__ = ["doctor"]

UNHEALTHY = 1

_MARKS: dict[Level, tuple[str, str, str]] = {  # of a terminal that can show it, of one that cannot, colour
    "ok": ("✓", "ok", "green"),
    "warning": ("!", "!", "yellow"),
    "failed": ("✗", "FAILED", "red"),
}


@click.command()
@as_json()
@in_directory
@click.pass_context
def doctor(context: click.Context, json: bool, directory: str | None) -> None:
    """Examine this node and its job: what was detected, what answers, what is wrong.

    Before a job, beside one, in place of its script (torchrun ... -m disttrack doctor), and after it. Changes nothing:
    journals stay where they are. Ends with 1 if anything is ✗.
    """
    report = examine(os.environ, sys.modules, directory)
    if json:
        say_json(_shape(report))
    else:
        # All at once: ranks of one launch write into the same terminal.
        click.echo("\n".join(_lines(report, Terminal.of(sys.stdout, os.environ))))
    if not report.ok:
        context.exit(UNHEALTHY)


def _shape(report: Report) -> dict[str, object]:
    return {
        "ok": report.ok,
        "host": report.host,
        "time": iso(report.time),
        "rank": report.rank,
        "root": str(report.root),
        "partial": report.partial,
        "findings": [
            {
                "check": finding.check,
                "group": finding.group,
                "level": finding.level,
                "text": finding.text,
                "fix": finding.fix,
                "facts": finding.facts,
            }
            for finding in report.findings
        ],
    }


def _lines(report: Report, terminal: Terminal) -> Iterator[str]:
    rank = "" if report.rank is None else f", rank {report.rank}"
    yield _styled(f"disttrack doctor on {printable(report.host)}{rank}, {day_time(report.time)}", terminal, bold=True)
    for group, findings in groupby(report.findings, key=lambda finding: finding.group):
        yield _styled(GROUPS[group], terminal, bold=True)
        for finding in findings:
            yield from _finding_lines(finding, terminal)
    if report.partial:
        yield "  The node is examined by its local rank 0."
    yield _verdict(report)


def _finding_lines(finding: Finding, terminal: Terminal) -> Iterator[str]:
    shown, plain, colour = _MARKS[finding.level]
    mark = shown if _can_show(shown) else plain
    yield f"  {_styled(mark, terminal, fg=colour)} {printable(finding.text)}"
    if finding.fix is not None:
        yield f"    → {printable(finding.fix)}" if _can_show("→") else f"    -> {printable(finding.fix)}"


def _verdict(report: Report) -> str:
    failures = sum(finding.level == "failed" for finding in report.findings)
    warnings = sum(finding.level == "warning" for finding in report.findings)
    if not failures and not warnings:
        return "Nothing is wrong."
    told = [count(number, what) for number, what in ((failures, "problem"), (warnings, "warning")) if number]
    return f"{' and '.join(told)}."


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _styled(text: str, terminal: Terminal, *, bold: bool = False, fg: str | None = None) -> str:
    return click.style(text, bold=bold or None, fg=fg) if terminal.colour else text
