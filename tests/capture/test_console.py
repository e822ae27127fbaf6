"""Streams that are listened to stay what they are."""

from __future__ import annotations

import contextlib
import io
import logging
import sys

import pytest

from disttrack.capture.console import tap, untap


class Slotted:
    __slots__ = ("texts",)

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, text: str) -> int:
        self.texts.append(text)
        return len(text)


def given_stdout(monkeypatch: pytest.MonkeyPatch) -> io.TextIOWrapper:
    """Gives this test a stdout of its own; in its own body, since pytest sets the streams between fixtures and test."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", None)
    return stream


def test_the_real_stream_gets_all_and_the_taker_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = given_stdout(monkeypatch)
    taken: list[tuple[str, str]] = []

    def take(name: str, text: str) -> None:
        taken.append((name, text))

    handler = logging.StreamHandler(sys.stdout)  # holds the stream from before
    assert tap(take) == ["stdout"]
    print("a", 1)
    sys.stdout.writelines(["b\n", "c\n"])
    handler.emit(logging.LogRecord("x", 20, "f", 1, "logged", None, None))
    assert sys.stdout is stdout
    assert (sys.stdout.encoding, sys.stdout.isatty()) == ("utf-8", False)
    untap(take)
    print("after")
    assert isinstance(stdout.buffer, io.BytesIO)
    assert stdout.buffer.getvalue() == b"a 1\nb\nc\nlogged\nafter\n"
    assert "".join(text for _, text in taken) == "a 1\nb\nc\nlogged\n"
    assert "write" not in vars(stdout)


def test_what_a_stream_raises_is_for_who_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = given_stdout(monkeypatch)
    taken: list[str] = []

    def take(_: str, text: str) -> None:
        taken.append(text)

    tap(take)
    with pytest.raises(TypeError):
        sys.stdout.write(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    stdout.close()
    with pytest.raises(ValueError, match="closed"):
        print("x")
    untap(take)
    assert taken == []


def test_of_two_takers_the_latest_gets_it_and_then_the_other_again(monkeypatch: pytest.MonkeyPatch) -> None:
    given_stdout(monkeypatch)
    first: list[str] = []
    second: list[str] = []

    def take_first(_: str, text: str) -> None:
        first.append(text)

    def take_second(_: str, text: str) -> None:
        second.append(text)

    tap(take_first)
    sys.stdout.write("a")
    tap(take_second)
    sys.stdout.write("b")
    untap(take_second)
    sys.stdout.write("c")
    untap(take_first)
    assert (first, second) == (["a", "c"], ["b"])


def test_who_has_wrapped_since_keeps_his_wrapper(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = given_stdout(monkeypatch)
    taken: list[str] = []

    def take(_: str, text: str) -> None:
        taken.append(text)

    tap(take)
    ours = stdout.write

    def theirs(text: str, /) -> int:
        return ours(text.upper())

    stdout.write = theirs  # type: ignore[method-assign]
    sys.stdout.write("a")
    untap(take)
    assert stdout.write is theirs
    sys.stdout.write("b")
    assert isinstance(stdout.buffer, io.BytesIO)
    assert (stdout.buffer.getvalue(), taken) == (b"AB", ["A"])


def test_what_is_redirected_elsewhere_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    given_stdout(monkeypatch)
    taken: list[str] = []

    def take(_: str, text: str) -> None:
        taken.append(text)

    tap(take)
    with contextlib.redirect_stdout(io.StringIO()):
        print("elsewhere")
    print("here")
    untap(take)
    assert "".join(taken) == "here\n"


def test_a_stream_that_takes_no_attributes_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Slotted())
    monkeypatch.setattr(sys, "stderr", None)

    def take(_: str, text: str) -> None:
        raise AssertionError(text)

    assert tap(take) == []
    print("x")
    untap(take)
