"""The verb that takes values elsewhere: export, in long form, one value a line."""

from __future__ import annotations

import csv
import errno
import io
import math
import os
import secrets
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

import click

from disttrack.cli.output import count, printable, strict, to_json
from disttrack.cli.reading import as_json, in_directory, opened_root
from disttrack.exchange.tables import check_parquet, write_parquet
from disttrack.query.history import Value, long_form

__all__ = ["COLUMNS", "as_csv", "as_jsonl", "csv_row", "export", "replaced"]

COLUMNS = ("run", "rank", "attempt", "step", "time", "key", "value", "type")
_ROWS_AT_ONCE = 2_000  # written with one call: enough that the call costs nothing, little to hold

Format = Literal["jsonl", "csv", "parquet"]
_ENDINGS: dict[str, Format] = {".csv": "csv", ".parquet": "parquet"}


def _names(_context: click.Context, _parameter: click.Parameter, text: str | None) -> list[str] | None:
    return None if text is None else [name for row in csv.reader([text], skipinitialspace=True) for name in row]


def _numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> list[int] | None:
    names = _names(context, parameter, text)
    try:
        return None if names is None else [int(name) for name in names]
    except ValueError:
        raise click.BadParameter(f"{text!r} are not ranks; write them as 0,1,2") from None


@click.command()
@click.argument("run_id", metavar="ID")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="How to write (default: as FILE ends, else jsonl).",
)
@click.option("-o", "--output", metavar="FILE", help="Write to FILE, which appears once it is whole (default: stdout).")
@click.option("--keys", metavar="a,b", callback=_names, help="Only these metrics; quote one with a comma as in csv.")
@click.option("--ranks", metavar="0,1", callback=_numbers, help="Only these ranks.")
@click.option("--superseded", is_flag=True, help="Also the values that a later attempt has gone over again.")
@as_json("The same as --format jsonl.")
@in_directory
def export(
    run_id: str,
    form: Format | None,
    output: str | None,
    keys: list[str] | None,
    ranks: list[int] | None,
    superseded: bool,
    json: bool,
    directory: str | None,
) -> None:
    """Write every value a run logged, as jsonl, csv or parquet.

    In long form: one value a line, with its run, rank, attempt, step and time.
    """
    if json and form not in (None, "jsonl"):
        raise click.UsageError(f"--json means --format jsonl; it cannot be used with --format {form}.")
    to_stdout = output is None or output == "-"
    if form is None:
        form = "jsonl" if json or output is None else _ENDINGS.get(Path(output).suffix.lower(), "jsonl")
    if form == "parquet":
        if to_stdout:
            raise click.UsageError("Parquet is not written to standard output: name a file with -o FILE.")
        check_parquet()
    values = long_form(opened_root(directory), run_id, keys=keys, ranks=ranks, superseded=superseded)
    if output is None or to_stdout:
        written = _write(values, form, sys.stdout.buffer)
    else:
        with replaced(Path(output)) as file:
            written = write_parquet(values, file) if form == "parquet" else _write(values, form, file)
        click.echo(f"Wrote {count(written.total(), 'value')} to {printable(output)}.", err=True)
    missing = [key for key in keys or [] if key not in written]
    if missing:
        of_these = " by these ranks" if ranks is not None else ""
        click.echo(f"Nothing of that name was logged{of_these}: {printable(', '.join(missing))}.", err=True)


def _write(values: Iterable[Value], form: Format, file: BinaryIO) -> Counter[str]:
    """Write values in pieces; return how many there were of each key."""
    rows, written = iter(values), Counter[str]()
    piece = list(islice(rows, _ROWS_AT_ONCE))  # before the first byte: what goes wrong at once leaves no half file
    if form == "csv":
        file.write(as_csv([COLUMNS]))
    while piece:
        file.write(as_jsonl(piece) if form == "jsonl" else as_csv(map(csv_row, piece)))
        written.update(value.key for value in piece)
        piece = list(islice(rows, _ROWS_AT_ONCE))
    return written


def as_jsonl(values: Iterable[Value]) -> bytes:
    """Return a line of strict JSON for each value.

    Written out by hand: with an encoder's call for each line a whole export of 80,000 values took 1.5 times as long.
    """
    texts: dict[str, str] = {}  # what repeats: run, keys, types
    lines: list[str] = []
    for run, rank, attempt, step, time_s, key, value, kind in values:
        for text in (run, key, kind):
            if text not in texts:
                texts[text] = to_json(text, compact=True)
        shown = repr(value) if type(value) is float and math.isfinite(value) else to_json(value, compact=True)
        lines.append(
            f'{{"run":{texts[run]},"rank":{rank},"attempt":{attempt},"step":{step},"time":{time_s!r},'
            f'"key":{texts[key]},"value":{shown},"type":{texts[kind]}}}\n'
        )
    return "".join(lines).encode("utf-8", "backslashreplace")  # JSON's own escapes for lone surrogates


def as_csv(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as RFC 4180 has them."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def csv_row(value: Value) -> Sequence[object]:
    """Return a value's columns; null is empty, a list or mapping is its compact JSON text."""
    return (*value[:6], _cell(value.value), value.type)


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return strict(value)
    if value is None or isinstance(value, int | str):
        return value
    return to_json(value, compact=True)


@contextmanager
def replaced(path: Path) -> Generator[BinaryIO]:
    """Open a file for writing that takes the name path once it is whole; what had that name is kept until then.

    What is no regular file (a pipe, /dev/stdout) is written as it is.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()  # a link goes on pointing to the file it pointed to
    if not path.parent.is_dir():  # the temporary's name would puzzle
        raise FileNotFoundError(errno.ENOENT, "there is no such directory", str(path.parent))
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise
