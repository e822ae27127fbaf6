"""Records that are no rows: into the facts of the source that said them.

Of two that say something of the same thing the one at the greater offset counts, whichever arrived first.
"""

from __future__ import annotations

from disttrack.index.facts import MAX_NAMED, FileFacts, SourceFacts
from disttrack.records.codec import decode
from disttrack.records.payloads import (
    About,
    Alert,
    ConfigUpdate,
    Drop,
    End,
    FileRef,
    LabelUpdate,
    MetricDefinition,
    Preempting,
    RecordKind,
    SummaryUpdate,
)

__all__ = ["take_statement"]

MAX_DEFINITIONS = 10_000  # of metrics, a source
MAX_FILES = 10_000  # of a source; more are counted


def take_statement(facts: SourceFacts, kind: int, body: bytes, at: int) -> None:
    """Take one record at offset at; raise ValueError where it says nothing."""
    match kind:
        case RecordKind.CONFIG:
            for key, value in decode(body, ConfigUpdate).values.items():
                if at > facts.config_at.get(key, -1):
                    facts.config[key], facts.config_at[key] = value, at
        case RecordKind.SUMMARY:
            _take_summary(facts, decode(body, SummaryUpdate), at)
        case RecordKind.DROP:
            facts.saw_drop(decode(body, Drop))
        case RecordKind.END:
            if at > facts.ended_at:
                facts.ended, facts.ended_at = decode(body, End), at
                facts.saw_time(facts.ended.time_us)
        case RecordKind.METRIC:
            definition = decode(body, MetricDefinition)
            if len(facts.definitions) < MAX_DEFINITIONS:
                facts.definitions[at] = definition
        case RecordKind.LABELS:
            update = decode(body, LabelUpdate)
            for label in ("name", "notes", "tags"):
                value = getattr(update, label)
                if value is not None and at > facts.labels_at.get(label, -1):
                    facts.labels[label], facts.labels_at[label] = value, at
        case RecordKind.ALERT:
            alert = decode(body, Alert)
            facts.saw_time(alert.time_us)
            facts.alert_count += 1
            facts.alerts = dict(sorted({**facts.alerts, at: alert}.items())[-MAX_NAMED:])  # the newest
        case RecordKind.PREEMPTING:
            facts.preempting_us = max(facts.preempting_us or 0, decode(body, Preempting).time_us)
        case RecordKind.ABOUT:
            about = decode(body, About)
            if at > facts.about_at.get(about.section, -1):
                facts.about[about.section], facts.about_at[about.section] = about.values, at
        case RecordKind.FILE:
            _take_file(facts, decode(body, FileRef), at)
        case _:
            pass  # of a newer disttrack, or of no interest to an index


def _take_summary(facts: SourceFacts, update: SummaryUpdate, at: int) -> None:
    facts.remember(update.values.keys(), update.values.values(), at)
    facts.by_hand.update(update.values)
    for key in update.removed:
        if at > facts.last_at.get(key, -1):
            facts.last.pop(key, None)
            facts.last_at[key] = at


def _take_file(facts: SourceFacts, file: FileRef, at: int) -> None:
    facts.saw_time(file.time_us)
    known = facts.files.get(file.path)
    if known is None and len(facts.files) >= MAX_FILES:
        facts.files_unnamed += 1
    elif known is None or at > known.at:
        facts.files[file.path] = FileFacts(file.size, file.blob, file.time_us, at)
