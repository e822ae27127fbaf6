"""Tables line up, fit 80 columns, and stay whole in a pipe."""

from __future__ import annotations

import io

import click
import pytest
from rich.cells import cell_len

from disttrack.cli.tables import Column, Terminal, table, without

COLUMNS = [
    Column("ID"),
    Column("NAME", least=6),
    Column("NOTE", worth=1),
    Column("STEP", right=True, worth=2),
]
ROWS = [["a", "short", "first", "1"], ["bcd", "a name that is long", "second", "12,345"]]


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_columns_line_up_and_numbers_stand_right() -> None:
    assert list(table(COLUMNS, ROWS, Terminal())) == [
        "ID   NAME                 NOTE      STEP",
        "a    short                first        1",
        "bcd  a name that is long  second  12,345",
    ]


def test_wide_characters_take_two_cells() -> None:
    lines = list(table([Column("NAME"), Column("N", right=True)], [["名前", "1"], ["abcd", "2"]], Terminal()))
    assert [cell_len(line) for line in lines] == [7, 7, 7]


def test_nothing_is_shortened_where_there_is_no_terminal() -> None:
    long = "x" * 500
    lines = list(table(COLUMNS, [[long, long, long, long]], Terminal()))
    assert lines[1].count("x") == 2_000


@pytest.mark.parametrize("width", range(22, 45))
def test_a_table_fits_the_terminal(width: int) -> None:
    assert all(cell_len(line) <= width for line in table(COLUMNS, ROWS, Terminal(width)))


def test_long_cells_are_shortened_before_a_column_is_left_out() -> None:
    title, _, row = table(COLUMNS, ROWS, Terminal(36))
    assert title.split() == ["ID", "NAME", "NOTE", "STEP"]
    assert row == "bcd  a name that is…  second  12,345"


def test_the_column_of_least_worth_is_left_out_first() -> None:
    title, *_ = table(COLUMNS, ROWS, Terminal(24))
    assert title.split() == ["ID", "NAME", "STEP"]
    title, *_ = table(COLUMNS, ROWS, Terminal(12))
    assert title.split() == ["ID", "NAME"]


def test_wide_characters_are_never_cut_in_half() -> None:
    for width in range(6, 14):
        lines = list(table([Column("NAME", least=4)], [["名前名前名前"]], Terminal(width)))
        assert all(cell_len(line) <= width for line in lines)


def test_an_indent_counts() -> None:
    lines = list(table(COLUMNS, ROWS, Terminal(30), indent=2))
    assert all(line.startswith("  ") and cell_len(line) <= 30 for line in lines)


def test_colour_does_not_move_a_column() -> None:
    columns = [Column("STATE", colour={"failed": "red"}.get), Column("N", right=True)]
    rows = [["failed", "1"], ["finished", "22"]]
    painted = list(table(columns, rows, Terminal(80, colour=True)))
    assert "\x1b[31mfailed\x1b[0m" in painted[1]
    assert [click.unstyle(line) for line in painted] == list(table(columns, rows, Terminal(80)))


def test_a_pipe_has_neither_width_nor_colour() -> None:
    assert Terminal.of(io.StringIO(), {"COLUMNS": "20"}) == Terminal(None, False)


@pytest.mark.parametrize(
    ("environ", "colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)]
)
def test_no_color_is_heeded(environ: dict[str, str], colour: bool) -> None:
    assert Terminal.of(Tty(), environ).colour is colour


def test_a_column_can_be_taken_out() -> None:
    columns, rows = without("NOTE", COLUMNS, ROWS)
    assert [column.title for column in columns] == ["ID", "NAME", "STEP"]
    assert rows[0] == ["a", "short", "1"]
