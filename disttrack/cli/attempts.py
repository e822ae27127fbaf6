"""How ranks and attempts ended, in words for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from disttrack.cli.output import count, day_time, duration, figure, printable
from disttrack.cli.tables import Column, Terminal, table
from disttrack.query.attempts import AttemptRow, Failure

__all__ = ["attempt_lines", "failure_sentence", "rank_ending", "state_colour"]

_COLOURS = {
    "finished": "green",
    "running": "cyan",
    "failed": "red",
    "crashed": "red",
    "lost": "red",
    "preempted": "yellow",
    "terminated": "yellow",
    "silent": "yellow",
    "pending": "yellow",
    "stopped": "yellow",
}


def state_colour(state: str) -> str | None:
    """Return the colour of a run's or rank's state, also with what rank_ending adds to it."""
    if ", then " in state:
        return "red"
    return _COLOURS.get(state.partition(" ")[0])


def rank_ending(state: str, exit_code: int | None, signal: str | None) -> str:
    """Return a rank's state and how it came to it: `crashed (SIGKILL)`, `failed (exit 1)`, `finished, then SIGSEGV`."""
    how = signal if signal is not None else f"exit {exit_code}" if exit_code is not None else None
    if state == "finished":
        return f"{state}, then {how}" if signal is not None or exit_code else state
    if state == "stopped" and signal is None and not exit_code:
        return state
    return f"{state} ({how})" if how is not None else state


def failure_sentence(failure: Failure) -> str:
    """Return who failed first, and how."""
    node = f" on {printable(failure.node)}" if failure.node else ""
    told = f"rank {failure.rank}{node} {rank_ending(failure.state, failure.exit_code, failure.signal)}"
    if failure.exception is not None:
        told += f": {printable(failure.exception.splitlines()[0])}"
    if failure.others:
        told += f"; {count(failure.others, 'other rank')} after it"
    if failure.terminated:
        told += f"; {count(failure.terminated, 'rank')} ended by the launcher"
    return told


def attempt_lines(attempts: Sequence[AttemptRow], terminal: Terminal) -> Iterator[str]:
    """Yield the table of a run's attempts."""
    columns = [
        Column("ATTEMPT", right=True),
        Column("STATE", colour=state_colour),
        Column("RANKS", right=True),
        Column("STARTED", worth=2),
        Column("DURATION", right=True, worth=3),
        Column("FIRST STEP", right=True, worth=4),
        Column("LAST STEP", right=True),
        Column("LOST STEPS", right=True),
        Column("FAILED FIRST", worth=1, least=12),
    ]
    rows = [
        [
            str(attempt.attempt),
            attempt.state,
            f"{attempt.ranks_joined}/{attempt.world_size}",
            "-" if attempt.started_at is None else day_time(attempt.started_at),
            _duration(attempt),
            figure(attempt.first_step),
            figure(attempt.last_step),
            figure(attempt.lost_steps),
            "-" if attempt.first_failure is None else failure_sentence(attempt.first_failure),
        ]
        for attempt in attempts
    ]
    yield from table(columns, rows, terminal, indent=2)


def _duration(attempt: AttemptRow) -> str:
    if attempt.started_at is None or attempt.ended_at is None:
        return "-"
    return duration(max(0.0, attempt.ended_at - attempt.started_at))
