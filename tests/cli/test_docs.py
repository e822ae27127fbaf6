"""docs/cli.md names every verb, every option and every field of the JSON."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields
from pathlib import Path

import click
import pytest

from disttrack.cli.exporting import COLUMNS
from disttrack.cli.program import VERBS, program
from disttrack.doctor.findings import GROUPS, Finding
from disttrack.query.comparing import RunsCompared
from disttrack.query.ranks import RankComparison, RankPace
from disttrack.query.runs import (
    AlertRow,
    AttemptRow,
    Failure,
    MetricRow,
    RankRow,
    RunDetail,
    RunReceipt,
    RunRow,
    Spread,
)

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md has no heading '## {title}'"
    return found[1]


def command(verb: str) -> click.Command:
    found = program.get_command(click.Context(program), verb)
    assert found is not None
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_heading_and_a_row(verb: str) -> None:
    assert f"disttrack {verb}" in section(verb)
    assert f"| [`{verb}`](#{verb}) |" in PAGE


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_a_row_and_is_in_the_line_of_use(verb: str) -> None:
    text = section(verb)
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `-")]
    usage = text.strip().splitlines()[0]
    for parameter in command(verb).params:
        if isinstance(parameter, click.Option):
            for name in parameter.opts:
                assert any(re.search(rf"`{name}\b", row) for row in rows), f"{verb} {name} has no row"
            assert any(name in usage for name in parameter.opts)
        else:
            assert parameter.metavar
            assert parameter.metavar in usage


@pytest.mark.parametrize("verb", VERBS)
def test_help_says_in_its_first_line_what_the_list_of_verbs_says(verb: str) -> None:
    help_text = command(verb).help
    assert help_text is not None
    assert help_text.splitlines()[0] == VERBS[verb].summary


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_says_what_it_is_for(verb: str) -> None:
    assert all(parameter.help for parameter in command(verb).params if isinstance(parameter, click.Option))


@pytest.mark.parametrize(
    ("verb", "shape"),
    [
        ("ls", RunRow),
        ("show", RankRow),
        ("show", RunReceipt),
        ("show", AttemptRow),
        ("show", Failure),
        ("show", Spread),
        ("show", AlertRow),
        ("show", MetricRow),
        ("ranks", RankPace),
        ("ranks", RankComparison),
        ("compare", RunsCompared),
        ("doctor", Finding),
    ],
)
def test_every_field_of_the_json_is_described(verb: str, shape: type) -> None:
    missing = [field.name for field in fields(shape) if f"`{field.name}`" not in section(verb)]
    assert not missing


def test_what_show_adds_is_described() -> None:
    added = {field.name for field in fields(RunDetail)} - {field.name for field in fields(RunRow)}
    assert [name for name in sorted(added) if f"`{name}`" not in section("show")] == []


def test_every_group_of_the_doctor_is_described() -> None:
    assert [group for group in GROUPS if f"| `{group}` |" not in section("doctor")] == []


def test_every_column_of_export_is_described() -> None:
    assert all(f"`{column}`" in section("export") for column in COLUMNS)


def test_verbs_are_where_the_table_says() -> None:
    for verb, (module, _) in VERBS.items():
        assert hasattr(importlib.import_module(f"disttrack.cli.{module}"), verb)
