"""What show and ranks print for people: a run as a block of text, and its ranks side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import click
from rich.cells import cell_len

from disttrack.cli.attempts import attempt_lines, failure_sentence, rank_ending, state_colour
from disttrack.cli.output import age, count, day_time, duration, exact, figure, iso, printable
from disttrack.cli.tables import Column, Terminal, table, without
from disttrack.query.comparing import RunsCompared, leaves
from disttrack.query.lineage import Origin
from disttrack.query.ranks import RankComparison, RankPace
from disttrack.query.runs import AlertRow, DropRow, PendingPlace, RankRow, RunDetail, RunReceipt, RunRow
from disttrack.records.classes import receipt_told

__all__ = [
    "alert_sentence",
    "bold",
    "comparison_report",
    "config_lines",
    "damage_sentence",
    "run_report",
    "runs_report",
]

NOTABLE_SKEW = 1.1  # 10 % above the median rank: below that, ranks of a healthy job differ too (facts/ui.md)
_NAMED_DROPS = 20  # the JSON has all
_NAMED_ALERTS = 5  # as above
_NAMED_RANKS = 8  # more are counted, not named
_NAMED_CHANGES = 20  # as above
_NAMED_ABSENT = 64  # as above, of those that never called init
_Ranked = TypeVar("_Ranked", RankRow, RankPace)


def run_report(run: RunDetail, terminal: Terminal) -> Iterator[str]:
    """Yield the lines of `show`."""
    yield bold(f"{printable(run.name)}  {printable(run.project)}/{printable(run.id)}", terminal)
    yield run_sentence(run)
    yield ""
    yield from _labels(run)
    for title, lines in (("Config", config_lines(run.config)), ("Summary", _summary(run, terminal))):
        body = list(lines)
        if body:
            yield from ("", bold(title, terminal), *body)
            yield from (*_other_configs(run), *_config_changes(run)) if title == "Config" else ()
    if len(run.attempts) > 1:
        yield from ("", bold("Attempts", terminal), *attempt_lines(run.attempts, terminal))
    if run.ranks:
        yield from ("", bold("Ranks", terminal), *_ranks(run.ranks, terminal))


def run_sentence(run: RunDetail) -> str:
    """Return what became of a run and of its ranks, as one sentence."""
    if run.state == "running":
        told = f"Running for {duration(run.duration_s)}, since {day_time(run.created_at)}"
    elif run.ended_at is None:
        told = f"{run.state.capitalize()}; started {day_time(run.created_at)}"
    else:
        told = f"{run.state.capitalize()} after {duration(run.duration_s)}; started {day_time(run.created_at)}"
    if run.attempt:
        told += f", attempt {run.attempt}"
    if run.world_size == run.ranks_joined == 1:
        return f"{told}."
    return f"{told}. {run.ranks_joined} of {count(run.world_size, 'rank')} joined{_by_state(run.ranks)}."


def _by_state(ranks: Sequence[RankRow]) -> str:
    """Return which ranks are in which state, the rarest state first; nothing where all are in one."""
    newest = {rank.rank: rank.state for rank in sorted(ranks, key=lambda rank: rank.attempt)}
    states: dict[str, list[int]] = {}
    for number, state in sorted(newest.items()):
        states.setdefault(state, []).append(number)
    if len(states) < 2:
        return f": all {next(iter(states))}" if states and len(newest) > 1 else ""
    *rare, commonest = sorted(states.items(), key=lambda item: len(item[1]))
    parts = [f"{_ranks_named(numbers)} {state}" for state, numbers in rare]
    return ": " + ", ".join([*parts, f"{len(commonest[1])} {commonest[0]}"])


def _ranks_named(numbers: Sequence[int]) -> str:
    if len(numbers) > _NAMED_RANKS:
        return str(len(numbers))
    return f"rank{'' if len(numbers) == 1 else 's'} " + ", ".join(map(str, numbers))


def receipt_sentence(receipt: RunReceipt) -> str:
    """Return where the records of a run are."""
    told = receipt_told(receipt.logged, receipt.stored, receipt.pending, receipt.dropped, receipt.drops)
    if receipt.unreachable:
        told += f"; of the pending, {receipt.unreachable:,} are on nodes that do not answer"
    return told


def pending_sentence(place: PendingPlace) -> str:
    """Return where records of one rank wait to be stored, and what stores them."""
    what = f"{count(place.records, 'record')} of rank {place.rank}"
    return f"{what}: in {printable(place.journal)} on {printable(place.host)}; `disttrack recover` there stores them"


def drop_sentence(drop: DropRow) -> str:
    """Return what one rank dropped, why, and when."""
    steps = "" if drop.first_step is None else f", steps {drop.first_step:,} to {drop.last_step:,}"
    times = "" if drop.first_at is None else f", {iso(drop.first_at)} to {iso(drop.last_at)}"
    what = f"{drop.count:,} {printable(drop.record_class or 'records')}"
    who = f"node {printable(drop.node or '?')}" if drop.rank is None else f"rank {drop.rank}"
    return f"{who} dropped {what} ({printable(drop.reason)}{steps}{times})"


def alert_sentence(alert: AlertRow) -> str:
    """Return what a rank wanted a person to see, in one line."""
    told = f"{alert.title}: {alert.text}" if alert.text else alert.title
    return f"{printable(told)} (rank {alert.rank}, {day_time(alert.at)})"


def damage_sentence(run: RunRow) -> str:
    """Return what damage to a run's log means; "" where there is none."""
    missing = f"{count(run.missing_bytes, 'byte')} of what its ranks logged are missing from it"
    if not run.damage:
        return missing if run.missing_bytes else ""
    places = f"{count(run.damage, 'place')} in its log cannot be read"
    return f"{places}; {missing if run.missing_bytes else 'nothing of what its ranks logged is known to be missing'}"


def _labels(run: RunDetail) -> Iterator[str]:
    labels = [("group", run.group), ("job type", run.job_type), ("tags", ", ".join(run.tags)), ("notes", run.notes)]
    labels += [("resumed", _behind(run.resumed_from)), ("fork of", _behind(run.forked_from))]
    for label, text in labels:
        first, *more = (text or "").splitlines() or [""]
        if first or more:
            yield f"  {label:<9} {printable(first)}".rstrip()
            yield from (f"  {'':<9} {printable(line)}".rstrip() for line in more)
    yield f"  records   {receipt_sentence(run.receipt)}"
    for waiting in run.receipt.places[:_NAMED_DROPS]:
        yield f"            {pending_sentence(waiting)}"
    if run.captured.pending or run.captured.dropped:
        yield f"  captured  {receipt_sentence(run.captured)}"
    for drop in run.drops[:_NAMED_DROPS]:
        yield f"            {drop_sentence(drop)}"
    for alert in run.alerts[:_NAMED_ALERTS]:
        yield f"  {alert.level.lower():<9} {alert_sentence(alert)}"
    if run.first_failure is not None and run.ranks_joined > 1:
        yield f"  failed    first of all {failure_sentence(run.first_failure)}"
    if sentence := damage_sentence(run):
        yield f"  damage    {sentence}"
        for place in run.damaged:
            yield f"            {printable(place.path)}, bytes {place.start:,} to {place.end:,}: {printable(place.why)}"


def _behind(origin: Origin | None) -> str | None:
    if origin is None:
        return None
    return origin.id if origin.step is None else f"{origin.id}, behind step {origin.step:,}"


def config_lines(config: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each value, keys of a mapping in a mapping with dots between them."""
    lines = [(printable(key), exact(value)) for key, value in leaves(config)]
    width = max((cell_len(key) for key, _ in lines), default=0)
    yield from (f"  {key}{' ' * (width - cell_len(key))}  {value}".rstrip() for key, value in lines)


def _summary(run: RunDetail, terminal: Terminal) -> Iterator[str]:
    """Yield the last values; with more than one rank, their spread beside them."""
    spread = run.summary_ranks if run.ranks_joined > 1 else {}
    keys = [*run.summary, *(key for key in spread if key not in run.summary)]
    if not keys:
        return
    columns = [Column("KEY", least=12), Column("LAST", right=True, least=8)]
    rows = [[printable(key), figure(run.summary.get(key))] for key in keys]
    if spread:
        titles = [("MIN", 2), ("MEAN", 3), ("MAX", 4), ("MAX AT", 5)]
        columns += [Column(title, right=True, worth=worth) for title, worth in titles]
        for key, row in zip(keys, rows, strict=True):
            one = spread.get(key)
            figures = [one.min, one.mean, one.max] if one is not None else [None] * 3
            row += [*(figure(value) for value in figures), f"rank {one.argmax}" if one is not None else "-"]
    yield from table(columns, rows, terminal, indent=2)


def _ranks(ranks: Sequence[RankRow], terminal: Terminal) -> Iterator[str]:
    named = _present(ranks)
    columns = [
        Column("RANK", right=True),
        Column("LOCAL", right=True, worth=2),
        Column("NODE", worth=4, least=8),
        Column("JOB TYPE", worth=3, least=8),
        Column("STATE", colour=state_colour),
        Column("ATTEMPT", right=True, worth=1),
        Column("ROWS", right=True),
        Column("LAST STEP", right=True, worth=6),
        Column("LAST SEEN", right=True, worth=5),
    ]
    rows = [
        [
            str(rank.rank),
            figure(rank.local_rank),
            printable(rank.node or "-"),
            printable(rank.job_type or "-"),
            rank_ending(rank.state, rank.exit_code, rank.signal),
            str(rank.attempt),
            figure(rank.rows),
            figure(rank.last_step),
            age(rank.last_seen_s),
        ]
        for rank in named
    ]
    if not any(rank.attempt for rank in ranks):
        columns, rows = without("ATTEMPT", columns, rows)
    yield from table(columns, rows, terminal, indent=2)
    if len(named) < len(ranks):
        yield f"  {count(len(ranks) - len(named), 'rank')} never called init"


def _present(ranks: Sequence[_Ranked]) -> Sequence[_Ranked]:
    """Return the ranks to name one by one: not those that never called init, where these are many."""
    present = [rank for rank in ranks if rank.state != "absent"]
    return ranks if len(ranks) - len(present) <= _NAMED_ABSENT else present


def comparison_report(comparison: RankComparison, terminal: Terminal) -> Iterator[str]:
    """Yield the lines of `ranks`: a row per rank, then the verdict."""
    paces = _present(comparison.ranks)
    scale, unit = _scale(comparison)
    what = "time between rows" if comparison.metric is None else printable(comparison.metric)
    run = f"{printable(comparison.name)}  {printable(comparison.project)}/{printable(comparison.id)}"
    yield f"{run}: {what} of each rank"
    yield ""
    columns = [
        Column("RANK", right=True),
        Column("NODE", worth=3, least=8),
        Column("JOB TYPE", worth=1, least=8),
        Column("STATE", colour=state_colour),
        Column("LAST STEP", right=True, worth=5),
        Column("BEHIND", right=True, worth=6),
        Column("LAST SEEN", right=True, worth=2),
        Column(f"MEDIAN{unit}", right=True),
        Column(f"P95{unit}", right=True, worth=4),
        Column("SKEW", right=True),
        Column(""),
    ]
    worst = _worst(paces)
    rows = [
        [
            str(pace.rank),
            printable(pace.node or "-"),
            printable(pace.job_type or "-"),
            rank_ending(pace.state, pace.exit_code, pace.signal),
            figure(pace.last_step),
            figure(pace.steps_behind),
            age(pace.last_seen_s),
            figure(None if pace.median is None else pace.median * scale),
            figure(None if pace.p95 is None else pace.p95 * scale),
            "-" if pace.skew is None else f"{pace.skew:.2f}x",
            "" if pace is not worst else "<- slowest" if comparison.metric is None else "<- highest",
        ]
        for pace in paces
    ]
    yield from table(columns, rows, terminal)
    if len(paces) < len(comparison.ranks):
        yield f"{count(len(comparison.ranks) - len(paces), 'rank')} never called init"
    if sum(pace.median is not None for pace in paces) > 1:
        yield ""
        yield _verdict(comparison, worst, what)


def _scale(comparison: RankComparison) -> tuple[float, str]:
    """Return what to multiply by, and the unit as the titles name it: milliseconds where no median reaches a second."""
    if comparison.metric is not None:
        return 1, ""
    medians = [pace.median for pace in comparison.ranks if pace.median is not None]
    return (1, " s") if any(median >= 1 for median in medians) else (1000, " ms")


def _worst(paces: Sequence[RankPace]) -> RankPace | None:
    """Return the rank that strays most from the median rank, where that is notable."""
    candidates = [pace for pace in paces if pace.skew is not None and pace.skew >= NOTABLE_SKEW]
    return max(candidates, key=lambda pace: pace.skew or 0.0, default=None)


def _verdict(comparison: RankComparison, worst: RankPace | None, what: str) -> str:
    if worst is None:
        return f"No rank is {NOTABLE_SKEW - 1:.0%} or more above the median rank in {what}."
    word = "the slowest" if comparison.metric is None else "the highest"
    node = f" on {printable(worst.node)}" if worst.node else ""
    return f"Rank {worst.rank}{node} is {word}: {worst.skew:.2f}x the median rank in {what}."


def runs_report(compared: RunsCompared, terminal: Terminal) -> Iterator[str]:
    """Yield the lines of `compare`: a column for each run."""
    titles = [printable(run.id) for run in compared.runs]
    yield from _beside(
        "RUN",
        titles,
        [
            ("name", [printable(run.name) for run in compared.runs]),
            ("project", [printable(run.project) for run in compared.runs]),
            ("state", [run.state for run in compared.runs]),
            ("ranks", [f"{run.ranks_joined}/{run.world_size}" for run in compared.runs]),
            ("attempt", [str(run.attempt) for run in compared.runs]),
            ("created", [day_time(run.created_at) for run in compared.runs]),
            ("duration", [duration(run.duration_s) for run in compared.runs]),
            ("logged", [figure(run.receipt.logged) for run in compared.runs]),
            ("stored", [figure(run.receipt.stored) for run in compared.runs]),
            ("pending", [figure(run.receipt.pending) for run in compared.runs]),
            ("dropped", [figure(run.receipt.dropped) for run in compared.runs]),
        ],
        terminal,
    )
    if compared.config or compared.same_config:
        same = f"{len(compared.config)} differ, {len(compared.same_config)} the same"
        yield from ("", f"{bold('Config', terminal)}: {same}")
        rows = [
            (printable(key), ["-" if value is None else exact(value) for value in values])
            for key, values in compared.config.items()
        ]
        if rows:
            yield from _beside("KEY", titles, rows, terminal)
    if compared.summary:
        yield from ("", bold("Summary", terminal))
        rows = [(printable(key), [figure(value) for value in values]) for key, values in compared.summary.items()]
        yield from _beside("KEY", titles, rows, terminal)


def _beside(
    heading: str, titles: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], terminal: Terminal
) -> Iterator[str]:
    columns = [Column(heading, least=8), *(Column(title, right=True, least=8) for title in titles)]
    yield from table(columns, [[name, *cells] for name, cells in rows], terminal, indent=2)


def _other_configs(run: RunDetail) -> Iterator[str]:
    """Yield what ranks were configured with otherwise."""
    for rank, config in list(run.config_by_rank.items())[:_NAMED_RANKS]:
        told = ", ".join(f"{printable(key)} = {exact(value)}" for key, value in leaves(config))
        yield f"  on rank {rank}: {told}"
    if len(run.config_by_rank) > _NAMED_RANKS:
        yield f"  and {len(run.config_by_rank) - _NAMED_RANKS:,} more ranks have a config of their own"


def _config_changes(run: RunDetail) -> Iterator[str]:
    """Yield what ranks were configured with otherwise from a step on, the newest of it."""
    for change in run.config_changes[-_NAMED_CHANGES:]:
        who = f" on rank {change.rank}" if run.world_size > 1 else ""
        when = "at its end" if change.step is None else f"from step {change.step:,} on"
        yield f"  {when}{who}: {printable(change.key)} = {exact(change.after)}, before {exact(change.before)}"
    if len(run.config_changes) > _NAMED_CHANGES:
        yield f"  and {len(run.config_changes) - _NAMED_CHANGES:,} changes before these"


def bold(text: str, terminal: Terminal) -> str:
    """Return a title."""
    return click.style(text, bold=True) if terminal.colour else text
