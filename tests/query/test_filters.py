"""The grammar of filters: what they find, and what is said of those that cannot be read."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.errors import FilterError, UsageError
from disttrack.query.api import Api
from disttrack.query.filters import OPERATORS, All, Comparison, Field, Not, Value, parse
from disttrack.query.matching import Matcher
from disttrack.query.subjects import PROPERTIES
from disttrack.records.values import plain
from disttrack.settings import ROOT_NAME
from tests.index.logs import START_US, RunLog, process_of

PAGE = (Path(__file__).parents[2] / "docs" / "filters.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Three runs: good has finished, bad has failed, odd has config and metrics of every kind and never ended."""
    directory = tmp_path_factory.mktemp("runs")
    root = directory / ROOT_NAME
    for run_id, loss, code, labels in (
        ("good", 0.25, 0, {"tags": ("best", "v 2"), "job_type": "train", "name": "two words"}),
        ("bad", 4.0, 1, {"tags": ("v1",), "name": "fold-1", "host": "node7"}),
    ):
        log = RunLog(root, run_id=run_id, group="g1" if run_id == "good" else None)
        processes = [process_of(rank, 4, **labels) for rank in ((0, 1) if run_id == "good" else (0, 1, 2, 3))]
        for process in processes:
            process.config(lr=3e-4 if run_id == "good" else "3e-4", optimizer={"betas": [0.9, 0.99]}, seed=plain(2**70))
            process.row({"loss": loss, "train/acc": 0.5}, 7)
            process.end(code)
        log.commit_all(*processes)
        log.end()
        log.close()
    odd, process = RunLog(root, run_id="odd", project="other"), process_of(0, 1, time_us=START_US + 86_400_000_000 * 2)
    odd.open(START_US + 86_400_000_000 * 2)
    process.config(loss=1, flag=True, nothing=None, group="text", **{"a b": 3})
    process.row({"state": 5, "diverged": float("nan")}, 0)
    odd.commit_all(process)
    odd.close()
    with Api(directory) as api:
        yield api


def found(api: Api, filters: str) -> str:
    return " ".join(sorted(run.id for run in api.runs(filters=filters)))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", "bad good odd"),
        ("loss<1", "good"),
        ("loss<=0.25", "good"),
        ("loss < 1 state:finished", "good"),
        ("loss>=1", "bad odd"),  # odd has it in its config
        ("summary.loss>=1", "bad"),
        ("config.loss:1", "odd"),
        ("lr:3e-4", "bad good"),  # as a number, and as the text it is in bad
        ("lr:0.0003", "good"),
        ('lr:"3e-4"', "bad"),
        ("lr<1", "good"),
        ("seed:1180591620717411303424", "bad good"),
        ("optimizer.betas:0.99", "bad good"),
        ("train/acc:0.5", "bad good"),
        ("flag:true", "odd"),
        ("flag!=true", "bad good"),
        ("nothing:null", "odd"),
        ("diverged:nan", "odd"),
        ('"a b":3', "odd"),
        ('config."a b">=3', "odd"),
        ("state:failed", "bad"),
        ("state!=failed", "good odd"),
        ("summary.state:5", "odd"),
        ('"state":5', "odd"),
        ("-state:f*", "odd"),
        ("rank:3", "bad"),
        ("rank>0", "bad good"),
        ("world_size:4 ranks_joined<4", "good"),
        ("node:node7", "bad"),
        ("group:g1", "good"),
        ("group:text", ""),
        ("config.group:text", "odd"),
        ("job_type:train", "good"),
        ("tag:best", "good"),
        ('tag:"v 2"', "good"),
        ("tag:v1 -tag:best", "bad"),
        ("tag!=best", "bad odd"),
        ("tag:*", "bad good"),
        ('name:"two words"', "good"),
        ("name:fold-*", "bad"),
        ("name:*o*o*", "good"),
        ("name:*l*-*1", "bad odd"),
        ("name:" + "*o" * 30 + "*", ""),
        ('name:"fold-*"', ""),
        ("FOLD", "bad"),
        ("o", "bad good odd"),
        ('"v 2"', "good"),
        ("-best fold", "bad"),
        ("g1 state:finished", "good"),
        ("nothing", ""),
        ("project:demo", "bad good"),
        ("id:odd", "odd"),
        ("attempt:0", "bad good odd"),
        ("duration_s>=10", "bad good odd"),
        ("ended>2000-01-01", "bad good"),
        ("unheard-of:1", ""),
        ("-unheard-of:1", "bad good odd"),
    ],
)
def test_a_filter_finds_the_runs_it_describes(api: Api, filters: str, expected: str) -> None:
    assert found(api, filters) == expected


def test_a_day_is_all_of_it(api: Api) -> None:
    day = f"{datetime.fromtimestamp(START_US / 1e6):%Y-%m-%d}"
    minute = f"{datetime.fromtimestamp(START_US / 1e6):%Y-%m-%dT%H:%M}"
    assert found(api, f"created:{day}") == found(api, f"created:{minute}") == "bad good"
    assert found(api, f"created>{day}") == "odd"
    assert found(api, f"created>={day}") == "bad good odd"
    assert found(api, f"created<{day}") == ""
    assert found(api, f"created<={day}") == "bad good"
    assert found(api, "created:2023-11-14T22:13:20Z") == "bad good"


def test_runs_come_in_the_order_of_a_field_and_those_without_it_last(api: Api) -> None:
    def ids(order: str) -> list[str]:
        return [run.id for run in api.runs(order=order)]

    assert ids("summary.loss") == ["good", "bad", "odd"]
    assert ids("-summary.loss") == ["bad", "good", "odd"]
    assert ids("-diverged") == ids("-created") == ["odd", "bad", "good"]
    assert ids("created") == ["bad", "good", "odd"]
    assert ids("lr") == ["good", "bad", "odd"]  # a number before text
    assert ids("name")[-1] == "good"


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("loss!1", 4, "one of : = != <= >= < > after loss"),
        ("loss< ", 6, "a value after <"),
        ("state:finished <3", 15, "a field, such as loss or state"),
        ('name:"two', 5, "a closing quote"),
        ('"two', 0, "a closing quote"),
        ('name:"a"b', 8, "a space before the next term"),
        ("loss<1 lr<high", 10, "a number"),
        ("state:crashd", 6, "did you mean crashed?"),
        ("created>yesterday", 8, "a day or a time"),
        ("name>x", 4, ": or = or !=, because name is text"),
        ("rank:first", 5, "a number"),
        ("- loss:1", 1, "a field"),
    ],
)
def test_a_filter_that_cannot_be_read_is_answered_with_the_place_and_the_expected_words(
    text: str, at: int, expected: str
) -> None:
    with pytest.raises(FilterError) as raised:
        Matcher(text)
    error = raised.value
    assert (error.at, error.text) == (at, text)
    assert expected in error.expected
    _, shown, caret, _ = str(error).split("\n")
    assert (shown, caret) == (f"  {text}", "  " + " " * at + "^")
    assert f"column {at + 1}" in str(error)
    assert isinstance(error, UsageError)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.at) == (str(error), at)


@pytest.mark.parametrize("order", ["", "-", "two words", "loss<1", "--loss<"])
def test_an_order_that_is_no_field_is_refused_before_anything_is_read(api: Api, order: str) -> None:
    with pytest.raises(FilterError):
        api.runs(order=order)


@given(
    st.lists(
        st.tuples(st.booleans(), st.text(min_size=1), st.sampled_from(OPERATORS), st.text()), min_size=1, max_size=4
    )
)
def test_any_name_and_text_can_be_said_in_quotes(terms: list[tuple[bool, str, str, str]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    text = "  ".join(
        f"{'-' if negated else ''}{quoted(name)} {operator}{quoted(value)}" for negated, name, operator, value in terms
    )
    said: list[tuple[bool, str, str, str]] = []
    for term in parse(text).of:
        comparison = term.of if isinstance(term, Not) else term
        assert isinstance(comparison, Comparison)
        said.append((isinstance(term, Not), comparison.field.name, comparison.operator, comparison.value.text))
    assert said == terms


@given(st.text(alphabet='ab:=!<>-"\\ .\n1é*') | st.text())
def test_any_text_is_either_a_filter_or_a_filter_error(text: str) -> None:
    try:
        Matcher(text)
        place = 0
    except FilterError as error:
        place = error.at
    assert 0 <= place <= len(text)


def test_a_syntax_tree_says_what_is_where() -> None:
    field, value = Field("lr", "config", False, 1), Value("3e-4", False, 11)
    assert parse("-config.lr:3e-4") == All((Not(Comparison(field, ":", value)),))


def test_the_page_names_every_field_and_operator_and_no_other() -> None:
    fields = PAGE.split("## Fields")[1].split("## Operators")[0]
    assert re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE) == list(PROPERTIES)
    for name, kind in re.findall(r"^\| `(\w+)` \|.*\| ([\w ]+) \|$", fields, re.MULTILINE):
        assert {"one of these": "state"}.get(kind, kind) == PROPERTIES[name][0]
    rows = PAGE.split("## Operators")[1].split("A word")[0]
    assert set(re.findall(r"`([:=!<>]+)`", rows)) == set(OPERATORS)


def test_what_cannot_be_a_number_says_so_before_the_root_is_looked_for() -> None:
    with pytest.raises(FilterError), Api(Path(os.sep, "nowhere", "at", "all")) as api:
        api.runs(filters="attempt:newest")
