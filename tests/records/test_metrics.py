"""Definitions of metrics: a later word adds to an earlier one, a name's own definition beats what globs say of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disttrack.records.metrics import Definitions, matches
from disttrack.records.payloads import MetricDefinition


@pytest.mark.parametrize(
    ("pattern", "key", "is_one"),
    [
        ("loss", "loss", True),
        ("loss", "loss2", False),
        ("*", "", True),
        ("*", "train/loss", True),
        ("train/*", "train/", True),
        ("train/*", "val/train/", False),
        ("*/loss", "train/loss", True),
        ("*loss*", "train/loss.min", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c", False),
        ("aa*aa", "aaa", False),
        ("**", "x", True),
        ("[a]*", "[a]b", True),
        ("[a]*", "ab", False),
    ],
)
def test_a_star_stands_for_any_text_anywhere(pattern: str, key: str, is_one: bool) -> None:
    assert matches(pattern, key) is is_one


@given(st.text("ab*", max_size=8), st.text("ab", max_size=12))
def test_patterns_are_what_a_regular_expression_says(pattern: str, key: str) -> None:
    wanted = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), key) is not None
    assert matches(pattern, key) is wanted


def test_definitions_of_one_name_add_to_each_other_until_one_overwrites() -> None:
    first = MetricDefinition(name="loss", summary=("min",), hidden=True)
    second = MetricDefinition(name="loss", goal="minimize", hidden=False)
    both = Definitions([first, second]).of("loss")
    assert (both.summary, both.goal, both.hidden) == (("min",), "minimize", False)
    fresh = MetricDefinition(name="loss", step_metric="epoch", overwrite=True)
    alone = Definitions([first, second, fresh]).of("loss")
    assert (alone.summary, alone.goal, alone.step_metric) == (None, None, "epoch")


def test_a_name_of_its_own_beats_globs_and_the_longer_glob_the_shorter_one() -> None:
    definitions = Definitions(
        [
            MetricDefinition(name="*", step_metric="epoch", summary=("last",), goal="minimize"),
            MetricDefinition(name="*/acc", goal="maximize"),
            MetricDefinition(name="val/acc", summary=("best", "max")),
        ]
    )
    found = definitions.of("val/acc")
    assert (found.step_metric, found.summary, found.goal) == ("epoch", ("best", "max"), "maximize")
    assert definitions.reducers("loss") == ("last",)
    assert definitions.of("epoch").step_metric is None  # not drawn over itself


def test_none_keeps_nothing() -> None:
    definitions = Definitions([MetricDefinition(name="debug/*", summary=("none",))])
    assert definitions.hides("debug/x")
    assert definitions.reducers("debug/x") == ()
    assert not definitions.hides("loss")
