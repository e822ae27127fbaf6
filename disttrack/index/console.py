"""What a run's sources printed: kept compressed, in the order of their journals."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence

from disttrack.index.checksums import IndexDamaged
from disttrack.index.printed import Printed, verified_piece
from disttrack.index.queries import RunRecord, Vanished
from disttrack.index.sqlite import is_damaged

__all__ = ["StoredConsole", "consoles"]


@dataclasses.dataclass(frozen=True)
class StoredConsole:
    """The console text of one run: pieces are fetched when asked for, with the index's lock held."""

    connection: sqlite3.Connection | None = None
    lock: threading.RLock = dataclasses.field(default_factory=threading.RLock)
    run: int = 0
    damaged: threading.Event = dataclasses.field(default_factory=threading.Event)
    starts: Mapping[int, Sequence[int]] = dataclasses.field(
        default_factory=dict[int, Sequence[int]]
    )  # of pieces, by source, ascending
    tail: Mapping[int, Sequence[Printed]] = dataclasses.field(
        default_factory=dict[int, Sequence[Printed]]
    )  # by source: what lies in no piece yet

    def with_tail(self, tail: Mapping[int, Sequence[Printed]]) -> StoredConsole:
        """Return it with what lies in no piece yet."""
        return dataclasses.replace(self, tail=tail)

    def newest_first(self, src: int) -> Iterator[Sequence[Printed]]:
        """Yield what a source printed in pieces, the newest first; in each the order is that of the calls.

        Where a writer's bytes came late, pieces overlap, and so does the order. Raises Vanished where the run is gone.
        """
        if self.tail.get(src):
            yield sorted(self.tail[src])
        for at in reversed(self.starts.get(src, ())):
            yield self._fetch(src, at)

    def _fetch(self, src: int, at: int) -> list[Printed]:
        assert self.connection is not None
        with self.lock:
            try:
                query = "SELECT data FROM console WHERE run = ? AND src = ? AND at = ?"
                row: tuple[bytes] | None = self.connection.execute(query, (self.run, src, at)).fetchone()
                if row is not None:
                    return verified_piece(row[0], self.run, src, at)
                if self.connection.execute("SELECT 1 FROM run WHERE id = ?", (self.run,)).fetchone():
                    self.damaged.set()
            except sqlite3.ProgrammingError:  # closed: the index was deleted and opened anew
                pass
            except (sqlite3.DatabaseError, UnicodeDecodeError, IndexDamaged) as error:
                if not is_damaged(error):
                    raise
                self.damaged.set()
        raise Vanished


def consoles(
    connection: sqlite3.Connection, lock: threading.RLock, runs: Sequence[RunRecord], damaged: threading.Event
) -> dict[int, StoredConsole]:
    """Return what is sealed of the console text of runs, by their numbers; raise IndexDamaged."""
    printed = [run.number for run in runs if run.facts.prints]
    query = f"SELECT run, src, at FROM console WHERE run IN ({','.join(map(str, printed))}) ORDER BY run, src, at"
    starts: dict[int, dict[int, list[int]]] = {number: {} for number in printed}
    for number, src, at in connection.execute(query).fetchall() if printed else ():
        starts[number].setdefault(src, []).append(at)
    for run in runs:
        if run.facts.prints != sum(map(len, starts.get(run.number, {}).values())):
            raise IndexDamaged(f"the console text of run {run.number}")
    return {
        run.number: StoredConsole(connection, lock, run.number, damaged, starts.get(run.number, {})) for run in runs
    }
