"""Console text in the index: sealed in pieces or not yet, whole or from its end."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import disttrack
from disttrack.index.checksums import IndexDamaged
from disttrack.index.printed import PIECE_BYTES, Printed, pieces, signed_piece, verified_piece
from tests.faults.jobs import no_writer
from tests.road.site import Site, wait_until


def test_pieces_are_in_order_and_of_bounded_size() -> None:
    texts = [Printed(at, "stdout", at, 0, "x" * 1000) for at in range(1000)]
    cut = list(pieces(texts[500:] + texts[:500]))
    assert [text for piece in cut for text in piece] == texts
    assert all(sum(len(text.text) for text in piece) < PIECE_BYTES + 1000 for piece in cut)
    assert list(pieces([])) == []


def test_a_piece_that_is_another_one_is_noticed() -> None:
    piece = [Printed(7, "stderr", 1, 3, "text")]
    blob = signed_piece(piece, 1, 2)
    assert verified_piece(blob, 1, 2, 7) == piece
    for run, src, at in ((2, 2, 7), (1, 1, 7), (1, 2, 8)):
        with pytest.raises(IndexDamaged):
            verified_piece(blob, run, src, at)


@pytest.mark.real(timeout_s=90)
def test_much_text_is_read_from_its_end_and_again_from_a_new_index(tmp_path: Path) -> None:
    site = Site(tmp_path)
    script = site.script(
        """
        import time, disttrack
        with disttrack.init(project="p", id="a") as run:
            for number in range(4_000):
                print(f"{number} " + "x" * 100)
                if number % 400 == 0:
                    time.sleep(0.5)
        """
    )
    site.python(script)
    wait_until(no_writer, "the run is over")
    with disttrack.Api(tmp_path) as api:
        everything = api.run("a").console()
        kept = [int(line.text.split()[0]) for line in everything if not line.lost_bytes]
        assert kept == sorted(set(kept))
        assert (kept[0], kept[-1]) == (0, 3999)
        assert api.run("a").console(tail=10) == everything[-10:]
        assert api.run("a").console(tail=0) == []
    [index] = tmp_path.rglob("index-v*.sqlite")
    connection = sqlite3.connect(index)
    assert connection.execute("SELECT count(*) FROM console").fetchone()[0] > 0
    connection.execute("DELETE FROM console")
    connection.commit()
    connection.close()
    with disttrack.Api(tmp_path) as api:
        assert api.run("a").console() == everything
