"""Lines as they look in the end: progress bars leave one line, everything else stays as it was printed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from disttrack.capture.lines import MAX_ROW, LineEditor


def fed(*texts: str) -> str:
    editor = LineEditor()
    return "".join([*map(editor.feed, texts), editor.rest()])


@given(st.lists(st.text(st.characters(exclude_characters="\r\x1b"), max_size=20), max_size=20))
def test_plain_text_stays_as_it_is_however_it_is_cut(texts: list[str]) -> None:
    lines = "".join(texts).split("\n")
    rest = lines.pop()
    assert fed(*texts) == "".join(f"{line}\n" for line in lines) + (rest if rest.strip() else "")


def test_of_a_progress_bar_the_last_state_is_kept() -> None:
    states = [f"\r{percent:3}%|{'#' * (percent // 10):10}|" for percent in range(101)]
    assert fed("begin\n", *states, "\n", "end\n") == "begin\n100%|##########|\nend\n"
    assert fed("".join(states), "\nend\n") == "100%|##########|\nend\n"


def test_a_bar_that_wipes_itself_leaves_nothing() -> None:
    assert fed("\r 50%|###", "\r" + " " * 8 + "\r", "done\n") == "done\n"


def test_bars_below_each_other_leave_a_line_each() -> None:
    texts = ["title\n"]
    for outer in range(4):
        texts += [f"\router {outer}"]
        for inner in range(5):
            texts += ["\n", f"\rinner {inner}", "\x1b[A"]
    text = fed(*texts, "\n\n", "end\n")
    assert text.splitlines()[0] == "title"
    assert text.splitlines()[-3:] == ["outer 3", "inner 4", "end"]
    assert len(text.splitlines()) <= 5


def test_line_ends_of_windows_are_line_ends() -> None:
    assert fed("a\r\nb\r", "\nc\r\n") == "a\nb\nc\n"


def test_a_line_without_an_end_is_shown_and_then_replaced() -> None:
    editor = LineEditor()
    assert editor.feed("Password? ") == ""
    assert editor.partial() == "Password? "
    assert editor.feed("yes\nnext") == "\rPassword? yes\n"
    assert editor.partial() == "next"
    assert editor.feed("\rnow") == ""
    assert editor.partial() == "\rnow"
    assert editor.rest() == "\rnow"


def test_a_line_without_any_end_is_let_go_in_pieces() -> None:
    editor = LineEditor()
    done = "".join(editor.feed("x" * 1000) for _ in range(40))
    assert len(done) > MAX_ROW
    assert len(done + editor.rest()) == 40_000
