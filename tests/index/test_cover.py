"""Which offsets were taken, against a plain set of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from disttrack.index.cover import Cover

RANGES = st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def offsets(ranges: list[tuple[int, int]]) -> set[int]:
    return {offset for low, high in ranges for offset in range(low, high)}


def taken(cover: Cover) -> set[int]:
    return set(range(cover.end)) - offsets(cover.gaps)


@given(st.lists(st.tuples(RANGES, st.booleans()), max_size=20))
def test_a_cover_is_the_set_of_offsets_it_was_told(story: list[tuple[tuple[int, int], bool]]) -> None:
    cover, model = Cover(), set[int]()
    for (begin, end), lost in story:
        missing = cover.missing(begin, end)
        assert offsets(missing) == set(range(begin, end)) - model
        assert missing == sorted(missing)
        cover.add(begin, end)
        model |= set(range(begin, end))
        if lost:
            cover.lose(begin, end)
            model -= set(range(begin, end))
        assert taken(cover) == model
        assert cover.end == max(model, default=-1) + 1
        assert cover.gaps == sorted(cover.gaps)
