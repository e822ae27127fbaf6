"""Runs as rows: what `disttrack ls` and `disttrack show` print, and Api returns. Times are unix seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from disttrack.index.facts import SourceFacts
from disttrack.index.queries import Damaged, RunRecord, damage_of
from disttrack.query.about import NodeRow, about_of, node_rows
from disttrack.query.alerts import AlertRow, alert_rows
from disttrack.query.attempts import (
    AttemptRow,
    Failure,
    attempt_rows,
    ending_of,
    first_failure,
    last_s,
    may_go_on,
)
from disttrack.query.config_changes import ConfigChange, config_changes
from disttrack.query.labels import edited, given
from disttrack.query.lineage import Origin, forked_from, resumed_from
from disttrack.query.media import FileRow, MediaRow
from disttrack.query.members import (
    Member,
    Observer,
    RankState,
    RunState,
    Team,
    members,
    newest_team,
    nodes,
    rank_states,
    run_state,
)
from disttrack.query.metrics import MetricRow, metric_rows, summary_of_run
from disttrack.query.receipts import DropRow, PendingPlace, RunReceipt, captured_of, drop_rows, receipt_of
from disttrack.query.summaries import Spread, by_precedence, config_by_rank, merged_config, spreads

__all__ = [
    "AlertRow",
    "AttemptRow",
    "DropRow",
    "Failure",
    "MetricRow",
    "NodeRow",
    "PendingPlace",
    "RankRow",
    "RunDetail",
    "RunReceipt",
    "RunRow",
    "Spread",
    "created_s",
    "detail_of",
    "detail_of_team",
    "rank_rows",
    "row_of",
    "row_of_team",
]


@dataclass(frozen=True)
class RankRow:
    """One rank of the newest attempt. rows and last_step are also those of its helpers."""

    rank: int
    local_rank: int | None
    node: str | None
    job_type: str | None
    state: RankState
    attempt: int
    rows: int
    last_step: int | None
    last_seen_s: float | None  # ago
    exit_code: int | None = None  # its own, or its process's where that is another than 0
    signal: str | None = None  # the name of the signal that its process died of


@dataclass(frozen=True)
class RunRow:
    """One run: one launch of a training job, whatever its ranks and attempts."""

    id: str
    entity: str | None
    project: str
    name: str
    group: str | None
    job_type: str | None
    state: RunState
    world_size: int
    ranks_joined: int
    attempt: int
    created_at: float
    ended_at: float | None
    duration_s: float
    tags: list[str]
    notes: str | None
    summary: dict[str, object]
    archived: bool = field(default=False, kw_only=True)  # put away, out of lists
    damage: int = field(default=0, kw_only=True)  # places of its log that cannot be read
    missing_bytes: int = field(default=0, kw_only=True)  # of its ranks' journals, before bytes that its log has


@dataclass(frozen=True)
class RunDetail(RunRow):
    """A run with what each of its ranks has to say."""

    config: dict[str, object]
    summary_ranks: dict[str, Spread]
    ranks: list[RankRow]
    receipt: RunReceipt
    attempts: list[AttemptRow]
    first_failure: Failure | None  # of the newest attempt
    damaged: list[Damaged] = field(default_factory=list[Damaged], kw_only=True)  # those of the places that are known
    drops: list[DropRow] = field(default_factory=list[DropRow], kw_only=True)
    resumed_from: Origin | None = field(default=None, kw_only=True)
    forked_from: Origin | None = field(default=None, kw_only=True)
    about: dict[str, dict[str, object]] = field(
        default_factory=dict[str, dict[str, object]], kw_only=True
    )  # by section
    nodes: list[NodeRow] = field(default_factory=list[NodeRow], kw_only=True)  # of the newest attempt
    config_by_rank: dict[int, dict[str, object]] = field(
        default_factory=dict[int, dict[str, object]], kw_only=True
    )  # what ranks have otherwise than config
    config_changes: list[ConfigChange] = field(default_factory=list[ConfigChange], kw_only=True)
    metrics: list[MetricRow] = field(default_factory=list[MetricRow], kw_only=True)  # that were defined
    alerts: list[AlertRow] = field(default_factory=list[AlertRow], kw_only=True)  # the newest
    files: list[FileRow] = field(default_factory=list[FileRow], kw_only=True)  # filled in by show_run, as media are
    media: list[MediaRow] = field(default_factory=list[MediaRow], kw_only=True)
    captured: RunReceipt = field(default=RunReceipt(0, 0, 0, 0, 0), kw_only=True)  # what disttrack wrote down by itself


def created_s(record: RunRecord) -> float:
    """Return when a run was created: when its first rank joined it, or its writer opened it."""
    times_us = [source.join.time_us for source in record.sources if source.join is not None]
    if record.facts.header is not None:
        times_us.append(record.facts.header.time_us)
    return min(times_us, default=0) / 1e6


def row_of(record: RunRecord, observer: Observer) -> RunRow:
    """Return a run as one row."""
    everybody = members(record)
    return row_of_team(record, everybody, newest_team(everybody), observer)


def detail_of(record: RunRecord, observer: Observer) -> RunDetail:
    """Return a run with its ranks. Looks into the journals on this host of those that have not ended."""
    everybody = members(record)
    team = newest_team(everybody)
    return detail_of_team(record, everybody, team, observer, row_of_team(record, everybody, team, observer))


def detail_of_team(
    record: RunRecord, everybody: list[Member], team: Team, observer: Observer, row: RunRow
) -> RunDetail:
    """Return what detail_of returns of a run whose row is known; the others as for row_of_team."""
    config = merged_config(by_precedence(everybody))
    over = record.facts.over_us is not None
    return RunDetail(
        **vars(row),
        config=config,
        config_by_rank=config_by_rank(everybody, config),
        config_changes=config_changes(everybody),
        summary_ranks=spreads(team.voices),
        ranks=rank_rows(record, team, observer),
        receipt=receipt_of(
            [member.source for member in everybody], observer, lambda: observer.sees_marker(record), over=over
        ),
        attempts=attempt_rows(record, everybody, observer, row.ended_at),
        first_failure=first_failure(record, team, observer),
        damaged=damage_of(record)[1],
        resumed_from=resumed_from(everybody),
        forked_from=forked_from(everybody),
        about=about_of(by_precedence(everybody)),
        nodes=node_rows(team),
        metrics=metric_rows(everybody),
        alerts=alert_rows(everybody),
        drops=drop_rows(everybody, nodes(record), observer, over=over),
        captured=captured_of(
            receipt_of(nodes(record), observer, lambda: observer.sees_marker(record), over=over),
            [member.source for member in everybody],
            observer,
        ),
    )


def row_of_team(record: RunRecord, everybody: list[Member], team: Team, observer: Observer) -> RunRow:
    """Return a run as one row; everybody: its members, team: the newest attempt among them."""
    header = record.facts.header
    joins = [source.join for source in team.joined.values() if source.join is not None]
    first = joins[0] if joins else None
    states = list(rank_states(team, record, observer).values())
    state = run_state(states, record, observer)
    begun_s = created_s(record)
    ended_s = _ended_s(record, team, states)
    last_known_s = ended_s if ended_s is not None else last_s(team) if state == "unknown" else observer.now_s
    labels = given(_by_attempt(everybody))
    if not labels.name:
        labels = labels._replace(name=header.name if header else record.run_id)
    if any(member.source.orphan for member in everybody) and "orphan" not in labels.tags:
        labels = labels._replace(tags=[*labels.tags, "orphan"])
    labels = edited(record.facts.edits, labels)
    return RunRow(
        id=record.run_id,
        entity=next((join.entity for join in joins if join.entity), None),
        project=record.project,
        name=labels.name,
        group=header.group if header else first.group if first else None,
        job_type=first.job_type if first else None,
        state=state,
        world_size=team.world_size,
        ranks_joined=len(team.joined),
        attempt=team.attempt,
        created_at=begun_s,
        ended_at=ended_s,
        duration_s=max(0.0, (last_known_s if last_known_s is not None else begun_s) - begun_s),
        tags=labels.tags,
        notes=labels.notes,
        summary=summary_of_run(record, everybody),
        archived=labels.archived,
        damage=record.facts.damage + sum(member.source.damage for member in everybody),
        missing_bytes=sum(end - start for member in everybody for start, end in member.source.cover.gaps),
    )


def _by_attempt(everybody: list[Member]) -> Iterator[list[SourceFacts]]:
    """Yield the sources of each attempt, the newest first; of one the ranks themselves first, then their helpers."""
    for attempt in sorted({member.attempt for member in everybody}, reverse=True):
        mine = [member for member in everybody if member.attempt == attempt]
        yield [member.source for member in sorted(mine, key=lambda member: member.source.role != "rank")]


def _ended_s(record: RunRecord, team: Team, states: list[RankState]) -> float | None:
    """Return when a run ended: None while one of its ranks may still go on."""
    if may_go_on(states):
        return None
    if record.facts.over_us is not None:
        return record.facts.over_us / 1e6
    return last_s(team)


def rank_rows(record: RunRecord, team: Team, observer: Observer) -> list[RankRow]:
    """Return a row for each rank of the newest attempt, those included that never joined."""
    everyone = sorted({*range(team.world_size), *team.joined})
    states = rank_states(team, record, observer)
    return [
        _rank_row(rank, states[rank], team, observer)
        if rank in team.joined
        else RankRow(rank, None, None, None, "absent", team.attempt, 0, None, None)
        for rank in everyone
    ]


def _rank_row(rank: int, state: RankState, team: Team, observer: Observer) -> RankRow:
    source, voices = team.joined[rank], team.voices[rank]
    times_us = [voice.last_time_us for voice in voices if voice.last_time_us is not None]
    exit_code, signal = ending_of(source)
    return RankRow(
        rank=rank,
        local_rank=team.local_rank(rank),
        node=source.join.host if source.join else None,
        job_type=source.join.rank_job_type if source.join else None,
        state=state,
        attempt=team.attempt,
        rows=sum(voice.rows for voice in voices),
        last_step=max((voice.max_step for voice in voices if voice.max_step is not None), default=None),
        last_seen_s=max(0.0, observer.now_s - max(times_us) / 1e6) if times_us else None,
        exit_code=exit_code,
        signal=signal,
    )
