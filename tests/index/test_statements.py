"""Records that are no rows: whatever order they arrive in, the later word of a process counts."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.index.facts import MAX_NAMED, FileFacts, SourceFacts, squeeze, unsqueeze
from disttrack.index.statements import take_statement
from disttrack.records.payloads import (
    KIND_OF,
    About,
    Alert,
    AlertLevel,
    ConfigUpdate,
    FileRef,
    LabelUpdate,
    MetricDefinition,
    Payload,
    Preempting,
    RecordKind,
    SummaryUpdate,
)
from disttrack.records.types import Incarnation

SAID: list[Payload] = [
    ConfigUpdate(values={"lr": 0.1, "seed": 3}),
    ConfigUpdate(values={"lr": 0.2}),
    SummaryUpdate(values={"best": 1}),
    SummaryUpdate(values={}, removed=("best",)),
    SummaryUpdate(values={"best": 2}),
    MetricDefinition(name="loss", summary=("min",)),
    MetricDefinition(name="loss", goal="minimize"),
    LabelUpdate(name="first", tags=("a",)),
    LabelUpdate(name="second"),
    Alert(title="nan", text="loss is nan", level=AlertLevel.ERROR, time_us=7),
    About(section="source", values={"commit": "abc"}),
    About(section="source", values={"commit": "def"}),
    About(section="host", values={"cpus": 2}),
    FileRef(path="a.txt", size=1, blob=0, time_us=1),
    FileRef(path="a.txt", size=2, blob=1, time_us=2),
    Preempting(time_us=9),
]


def facts_of(said: list[tuple[int, Payload]]) -> SourceFacts:
    facts = SourceFacts(incarnation=Incarnation(1))
    for at, payload in said:
        take_statement(facts, KIND_OF[type(payload)], msgspec.msgpack.encode(payload), at)
    return facts


@given(st.permutations(list(enumerate(SAID))))
def test_in_whatever_order_they_arrive_the_later_word_counts(said: list[tuple[int, Payload]]) -> None:
    facts = facts_of(said)
    assert facts == facts_of(list(enumerate(SAID)))
    assert facts.config == {"lr": 0.2, "seed": 3}
    assert facts.last == {"best": 2}
    assert facts.labels == {"name": "second", "tags": ("a",)}
    assert facts.about == {"source": {"commit": "def"}, "host": {"cpus": 2}}
    assert facts.files == {"a.txt": FileFacts(2, 1, 2, 14)}
    assert [definition.name for _, definition in sorted(facts.definitions.items())] == ["loss", "loss"]
    assert (facts.alert_count, facts.preempting_us) == (1, 9)


def test_the_newest_alerts_are_kept_and_all_are_counted() -> None:
    alerts = [Alert(title=str(n), text="", level=AlertLevel.INFO, time_us=n) for n in range(MAX_NAMED + 5)]
    facts = facts_of(list(enumerate(alerts)))
    assert facts.alert_count == MAX_NAMED + 5
    assert [alert.title for alert in facts.alerts.values()] == [str(n) for n in range(5, MAX_NAMED + 5)]


def test_facts_come_back_from_the_index_as_they_went_in() -> None:
    facts = facts_of(list(enumerate(SAID)))
    facts.labels["tags"] = ["a"]  # a list is what msgpack has
    assert unsqueeze(squeeze(facts)) == facts


def test_what_says_nothing_is_told_and_changes_nothing() -> None:
    facts = SourceFacts(incarnation=Incarnation(1))
    with pytest.raises(ValueError, match="not a MetricDefinition"):
        take_statement(facts, RecordKind.METRIC, b"\xc1", 0)
    take_statement(facts, 250, b"of a newer disttrack", 0)
    assert facts == SourceFacts(incarnation=Incarnation(1))
