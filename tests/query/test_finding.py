"""Finding runs by what is filed of them gives the answer that looking into each of them gives, at any time."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disttrack.errors import RootGone, RunNotFound, UsageError
from disttrack.index.facets import LONG_BYTES
from disttrack.query.api import Api
from disttrack.query.edits import delete_run, edit_run, new_edit
from disttrack.query.finding import find_named, find_runs
from disttrack.query.matching import Matcher
from disttrack.query.members import Observer
from disttrack.query.reader import Reader
from disttrack.query.runs import created_s
from disttrack.query.subjects import CREATED, Subject
from disttrack.records.values import plain
from disttrack.settings import ROOT_NAME
from tests.index.logs import START_US, Process, RunLog, finished_run, process_of

KEYS = ["loss", "a.b", "a", "state"]
VALUES = st.one_of(
    st.sampled_from([0, 1, 1.0, True, False, -0.0, 0.5, float("nan"), float("inf"), None, 2**53, 2**53 + 1]),
    st.sampled_from(
        ["", "x", "1", "true", "x" * (LONG_BYTES + 1), "é" * LONG_BYTES, [1, "x"], {"b": 1}, {"b": {"c": 2}}]
    ),
    st.sampled_from([plain(2**70), 2**63, -(2**63)]),
    st.floats(width=32),
    st.integers(-3, 3),
    st.text(max_size=2),
)
VALUES_BY_KEY = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3)
FILTERS = [
    "", "loss<1", "loss>=0", "loss:1", "loss!=1", "-loss:x*", "a.b:1", "a.b.c:2", "summary.a:*", "config.loss>0",
    "config.a.b:1", '"state":x', "loss:nan", "loss:true", "state:finished", "state!=running", "tag:t1", "-tag:t*",
    "name:n*", "id:r1", "project:p0", "group:g", "rank:1", "node:node1 loss<1", "attempt>0", "world_size:2",
    "ranks_joined<2", "created>=2023-11-14", "ended>2000-01-01", "duration_s<20", "job_type:*", "loss<2 state:failed",
]  # fmt: skip
ORDERS = [
    None, "loss", "-loss", "a.b", "-config.a", "config.loss", "created", "-created", "name", "-duration_s", "ended",
    "state", "tag", "-rank", "node", "id", "-project",
]  # fmt: skip
STEPS = st.one_of(
    st.tuples(st.just("row"), VALUES_BY_KEY.filter(bool)),
    st.tuples(st.just("config"), VALUES_BY_KEY),
    st.tuples(st.just("summary"), st.tuples(VALUES_BY_KEY, st.lists(st.sampled_from(KEYS), max_size=2))),
    st.tuples(st.just("end"), st.integers(0, 1)),
    st.tuples(st.just("see"), st.sampled_from(["crashed", "lost", "silent", "running", "moved", "ended"])),
    st.tuples(st.just("attempt"), st.integers(0, 1)),
    st.tuples(st.just("over"), st.none()),
    st.tuples(st.just("finish"), st.integers(0, 1)),
    st.tuples(st.just("finish"), st.integers(0, 1)),
    st.tuples(st.just("life"), st.none()),
    st.tuples(st.just("alias"), st.none()),
    st.tuples(st.just("edit"), st.sampled_from([{"add_tags": ("t2",)}, {"remove_tags": ("t1",)}, {"name": "new"}])),
    st.tuples(st.just("archive"), st.booleans()),
    st.tuples(st.just("delete"), st.none()),
)
STORIES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), STEPS), min_size=1, max_size=14)


@dataclass
class Teller:
    """One run: its log, and the process of each of its two ranks."""

    log: RunLog
    processes: list[Process]
    committed: dict[int, int] = field(default_factory=dict[int, int])
    gone: bool = False

    def commit(self, rank: int) -> None:
        process = self.processes[rank]
        first = self.committed.get(process.join.incarnation, 0)
        if len(process.bounds) - 1 > first:
            self.log.commit((process, first, None))
            self.committed[process.join.incarnation] = len(process.bounds) - 1

    def tell(self, rank: int, kind: str, what: Any) -> None:
        process, name = self.processes[rank], f"{self.log.project}/{self.log.run_id}"
        match kind:
            case "row":
                process.row(what, 1)
            case "config":
                process.config(**what)
            case "summary":
                process.summary(what[0], tuple(what[1]))
            case "end":
                process.end(what)
            case "see":
                self.log.see(process, what, exit_code=0)
            case "attempt":
                self.processes[rank] = process_of(rank, 2, host=f"node{what}", tags=("t1",) * what)
                self.processes[rank].attempt = process.attempt + what
            case "over":
                self.log.end()
            case "finish":
                for other, one in enumerate(self.processes):
                    one.end(what * other)
                    self.commit(other)
                self.log.end()
            case "life":
                self.log.close()
            case "alias":
                self.log.alias("r0")
            case "edit" | "archive":
                edit_run(self.log.root, name, new_edit(**(what if kind == "edit" else {"archived": what})))
            case _:
                assert kind == "delete"
                self.gone = bool(delete_run(self.log.root, name, do=True))
        self.commit(rank)


def teller(root: Path, number: int) -> Teller:
    labels = {"job_type": "train", "tags": ("t1", "t3"), "name": "n1"} if number % 2 else {}
    log = RunLog(root, f"p{number % 2}", f"r{number}", group="g" if number < 2 else None)
    ranks = [process_of(rank, 2, time_us=START_US + 1_000_000 * (number // 2), **labels) for rank in range(2)]
    found = Teller(log, ranks)
    found.tell(0, "row", {"loss": number / 2})
    return found


def looked_into(
    reader: Reader, project: str | None, filters: str, order: str | None, *, archived: bool
) -> list[tuple[str, str]]:
    """Returns the runs that a filter finds, in their order: each of them decoded and asked."""
    observer, passes = Observer.here(reader.root), Matcher(filters)
    runs = [Subject(record, observer) for record in reader.runs(project)]
    runs = [run for run in runs if passes(run) and (archived or not run.row.archived)]
    runs.sort(key=lambda run: (-created_s(run.record), run.record.project, run.record.run_id))
    if order is not None:
        known = [(value_of(run, order.removeprefix("-")), run) for run in runs]
        numbers = [pair for pair in known if isinstance(pair[0], int | float) and pair[0] == pair[0]]
        texts = [pair for pair in known if isinstance(pair[0], str)]
        rest = [pair for pair in known if pair not in numbers and pair not in texts]
        for some in (numbers, texts):
            some.sort(key=lambda pair: pair[0], reverse=order.startswith("-"))
        runs = [run for _, run in [*numbers, *texts, *rest]]
    return [(run.record.project, run.record.run_id) for run in runs]


def value_of(run: Subject, name: str) -> Any:
    found: dict[str, list[Any]] = {
        "tag": run.row.tags[:1],
        "rank": run.ranks[:1],
        "node": run.nodes[:1],
        "ended": [run.row.ended_at],
        "created": [run.row.created_at],
    }
    if name in found:
        return next(iter(found[name]), None)
    if name in ("name", "duration_s", "state", "id", "project"):
        return getattr(run.row, name)
    mappings = {"config": [run.config], "summary": [run.summary]}.get(name.partition(".")[0])
    key = name.partition(".")[2] if mappings else name
    for mapping in mappings or [run.summary, run.config]:
        if key in mapping:
            return mapping[key]
        outer, _, inner = key.partition(".")
        held = mapping.get(outer)
        if inner and isinstance(held, dict) and inner in held:
            return cast("dict[str, object]", held)[inner]
    return None


def check(reader: Reader, draw: st.DataObject) -> None:
    for _ in range(5):
        filters, order = draw.draw(st.sampled_from(FILTERS)), draw.draw(st.sampled_from(ORDERS))
        project, archived = draw.draw(st.sampled_from([None, "p0", "p2"])), draw.draw(st.booleans())
        found = find_runs(reader, project, filters, order, archived=archived)
        expected = looked_into(reader, project, filters, order, archived=archived)
        assert [(run.record.project, run.record.run_id) for run in found] == expected, (filters, order)
        assert len(found) == len(expected)
        assert [run.record.run_id for run in found[1:3]] == [run_id for _, run_id in expected[1:3]]


@settings(max_examples=12)
@given(STORIES, st.data())
def test_what_is_filed_finds_the_runs_that_looking_into_each_would_find(story: Any, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / ROOT_NAME
        tellers: list[Teller] = [teller(root, number) for number in range(4)]
        with Reader(root, {}) as reader:
            for number, rank, (kind, what) in story:
                one = tellers[int(number)]
                if one.gone:
                    continue
                try:
                    one.tell(rank, kind, what)
                except (RunNotFound, UsageError):  # an alias, or a run that goes on, is not to be deleted
                    continue
                if data.draw(st.integers(0, 2)) == 0:
                    check(reader, data)
            check(reader, data)
            for told in tellers:
                told.log.close()
            check(reader, data)
        with Reader(root, {}) as stranger:
            check(stranger, data)
        for path in root.glob("index-*"):
            path.unlink()
        with Reader(root, {}) as rebuilt:
            check(rebuilt, data)


def test_only_the_runs_that_are_asked_for_are_looked_into(tmp_path: Path) -> None:
    root = tmp_path / ROOT_NAME
    for number in range(30):
        finished_run(root, [(0, {"loss": float(number)})], run_id=f"r{number}")
    with Reader(root, {}) as reader:
        (counted, others) = reader.listed([CREATED])
        assert len(counted.facets[CREATED].runs) == 30
        assert others == []
        found = find_runs(reader, None, "loss<20 state:finished", "-loss")
        page = found[:3]
        assert [run.record.run_id for run in page] == ["r19", "r18", "r17"]
        for number in range(30):  # nothing to look into any more
            delete_run(root, f"r{number}", do=True)
        reader.catch_up()
        assert (len(found), found[0].record.run_id, list(found[3:])) == (20, "r19", [])
        with pytest.raises(RunNotFound, match="number 5 of the 20"):
            found[5]


def test_a_run_that_goes_on_again_is_looked_into_until_it_ends(tmp_path: Path) -> None:
    with Api(tmp_path) as api:
        log = finished_run(tmp_path / ROOT_NAME, [(0, {"loss": 1.0, "gone": 2})])
        assert [len(api.runs(filters=text)) for text in ("loss:1 state:finished", "gone:2", "state:unknown")] == [
            1,
            1,
            0,
        ]
        again = process_of(0)
        again.attempt = 1
        again.row({"loss": 3.0}, 1)
        log.commit_all(again)
        assert [len(api.runs(filters=text)) for text in ("loss:3", "loss:1", "state:finished", "attempt:1")] == [
            1,
            0,
            0,
            1,
        ]
        again.summary({}, ("loss",))
        again.end()
        log.commit(*[(again, 1, None)])
        log.end()
        log.close()
        found = [len(api.runs(filters=text)) for text in ("loss:1", "loss:3", "gone:2", "state:finished attempt:1")]
        assert found == [1, 0, 1, 1]


def test_runs_are_found_by_many_names_at_once(tmp_path: Path) -> None:
    for number in range(5):
        finished_run(tmp_path, [(0, {"a": 1.0})], run_id=f"r{number}")
    RunLog(tmp_path, run_id="open").open()
    with Reader(tmp_path) as reader:
        found = find_named(reader, ["demo/r3", "demo/no", "other/r1", "demo/open", "demo/r0", "r1"])
        assert list(found) == ["demo/r3", "demo/open", "demo/r0"]
        assert [run.record.run_id for run in found.values()] == ["r3", "open", "r0"]


def test_a_root_that_was_there_and_is_gone_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    root = tmp_path / "root"
    with Reader(root) as reader:
        assert reader.runs() == []  # it need not exist
        finished_run(root, [(0, {"a": 1.0})])
        assert len(reader.runs()) == 1
        root.rename(tmp_path / "elsewhere")
        with pytest.raises(RootGone, match="removed, moved or unmounted"):
            reader.runs()
        with pytest.raises(RootGone):
            reader.find("run1")
        (tmp_path / "elsewhere").rename(root)
        assert len(reader.runs()) == 1
