"""Names: the directories they become, and those we make up."""

from __future__ import annotations

import os
import re
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from disttrack.records.names import directory_name, generated_name, generated_words, new_run_id

#: Any text at all, lone surrogates included, which Hypothesis leaves out by default.
ANY_TEXT = st.text(st.characters(), min_size=1)
LONG = st.text(st.sampled_from(["a", "é", "名", "😀", "/", ".", "=", "%", " "]), min_size=150, max_size=400)


@given(ANY_TEXT | LONG)
@example(".")
@example("..")
@example(".hidden")
@example("../../etc/passwd")
@example("\ud800")
@example("a/b\\c\0d\n")
@example("%2E")
def test_any_name_becomes_one_plain_directory_below_its_parent(name: str) -> None:
    directory = directory_name(name)
    assert directory not in ("", ".", "..")
    assert not directory.startswith(".")
    assert not set(directory) & set("/\\\0\n")
    assert directory.isascii()
    assert len(os.fsencode(directory)) <= 200
    assert Path("/root", directory).parent == Path("/root")


@given(ANY_TEXT | LONG, ANY_TEXT | LONG)
@example(".a", "%2Ea")
@example("a", "a ")
@example("ä", "a\u0308")
@example("\ud83d\ude00", "😀")
@example("x" * 200, "x" * 201)
@example("x" * 300, "x" * 301)
@example("x" * 400 + "a", "x" * 400 + "b")
def test_names_that_differ_never_share_a_directory(one: str, other: str) -> None:
    assert (directory_name(one) == directory_name(other)) == (one == other)


@given(ANY_TEXT | LONG)
@example("=" * 66)
@example("=" * 67)
def test_only_a_cut_name_holds_an_equals_sign_so_no_whole_one_can_be_taken_for_it(name: str) -> None:
    directory = directory_name(name)
    assert ("=" in directory) == (len(directory) == 200 and directory[167] == "=")


def test_names_of_every_script_keep_apart_in_a_real_directory(tmp_path: Path) -> None:
    names = ["fold 1", "fold-1", "Größe", "名前", "प्रयोग", "👩‍🔬", "می\u200cخواهم", "a" * 500, "a" * 499, "~", "-"]
    root = tmp_path / "root"
    for name in names:
        (root / directory_name(name)).mkdir(parents=True)
    assert len(list(root.iterdir())) == len(names)


def test_generated_names_are_adjective_noun_number() -> None:
    for number in (1, 2, 40_000):
        assert re.fullmatch(rf"[a-z]+-[a-z]+-{number}", generated_name(number))


@given(st.text())
def test_the_same_seed_gives_every_rank_the_same_words(seed: str) -> None:
    words = generated_words(seed)
    assert re.fullmatch("[a-z]+-[a-z]+", words)
    assert generated_words(seed) == words


def test_words_vary_with_the_seed_and_without_one() -> None:
    assert len({generated_words(f"launch {number}") for number in range(200)}) > 150
    assert len({generated_words() for _ in range(200)}) > 150


def test_run_ids_are_eight_characters_and_never_the_same() -> None:
    ids = {new_run_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert all(re.fullmatch("[a-z0-9]{8}", run_id) for run_id in ids)
