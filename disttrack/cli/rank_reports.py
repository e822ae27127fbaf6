"""What `show --rank` prints for people: one rank as a block of text."""

from __future__ import annotations

from collections.abc import Iterator

from disttrack.cli.attempts import rank_ending
from disttrack.cli.output import age, figure, printable
from disttrack.cli.reports import alert_sentence, bold, config_lines
from disttrack.cli.tables import Column, Terminal, table
from disttrack.query.rank_view import RankView

__all__ = ["rank_report"]


def rank_report(rank: RankView, terminal: Terminal) -> Iterator[str]:
    """Yield the lines."""
    yield bold(f"{printable(rank.name)}  {printable(rank.project)}/{printable(rank.id)}, rank {rank.rank}", terminal)
    where = f" on {printable(rank.node)}" if rank.node else ""
    yield f"{rank_ending(rank.state, rank.exit_code, rank.signal).capitalize()}{where}, attempt {rank.attempt}."
    yield ""
    yield f"  job type  {printable(rank.job_type or '-')}"
    yield f"  rows      {figure(rank.rows)}, the last of step {figure(rank.last_step)}, seen {age(rank.last_seen_s)}"
    if rank.exception is not None:
        yield f"  failed    {printable(rank.exception.splitlines()[0])}"
    for alert in rank.alerts:
        yield f"  {alert.level.lower():<9} {alert_sentence(alert)}"
    if rank.config:
        yield from ("", bold("Config", terminal), *config_lines(rank.config))
    if rank.summary:
        columns = [Column("KEY", least=12), Column("LAST", right=True, least=8)]
        rows = [[printable(key), figure(value)] for key, value in rank.summary.items()]
        yield from ("", bold("Summary", terminal), *table(columns, rows, terminal, indent=2))
