"""What an agent says of a dead rank: what its journal holds, and then how it ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from disttrack.environments.endings import UNKNOWN, Ending
from disttrack.journal.files import file_name
from disttrack.journal.outbox import Outbox
from disttrack.records.codec import HEADER, RowEncoder, encode
from disttrack.records.payloads import End, RecordKind
from disttrack.records.types import Join, changed
from disttrack.transport.protocol import Data, Gone, Message
from disttrack.writer.carried import Carried
from tests.journal.joins import make_join

END = encode(RecordKind.END, End(exit_code=0, logged=20, dropped=0, time_us=1))
DAMAGE = bytes(HEADER.size + 40)  # no record, and not one that was cut short


@pytest.fixture
def journal(tmp_path: Path) -> Outbox:
    """That of a rank that logged 20 rows."""
    outbox = Outbox(tmp_path / "journal", make_join(journal=str(tmp_path / "journal")))
    encoder = RowEncoder()
    for step in range(20):
        outbox.append(encoder.encode({"text": "x" * 30_000}, step, 1, 1, []), 1)
    return outbox


class Writer:
    """Takes what an agent carries."""

    def __init__(self) -> None:
        self.log = b""
        self.gone: list[Gone] = []

    def take(self, message: Message) -> bool:
        if isinstance(message, Data):
            self.log = self.log[: message.offset] + message.data
        elif isinstance(message, Gone):
            self.gone.append(message)
        return True


def unknown(_: Join) -> Ending:
    return UNKNOWN


def carried(journal: Outbox, writer: Writer, offset: int = 0) -> Carried:
    """Carries a journal home, from offset on."""
    rank = Carried(changed(make_join(), journal=str(journal.directory)))
    rank.died = True
    rank.open_journal()
    rank.welcome(offset)
    rank.bring_home(writer.take, unknown)
    rank.acknowledged(len(writer.log) or offset)
    rank.bring_home(writer.take, unknown)
    return rank


def damage(journal: Outbox) -> None:
    with open(journal.directory / file_name(0), "ab") as file:
        file.write(DAMAGE)


def test_the_whole_journal_goes_and_then_the_end_that_the_rank_said(journal: Outbox) -> None:
    journal.append(END, 0)
    writer = Writer()
    rank = carried(journal, writer)
    assert writer.log == journal.read(0, 1 << 20)
    assert [gone.said for gone in writer.gone] == [End(exit_code=0, logged=20, dropped=0, time_us=1)]
    assert rank.told


def test_an_end_that_damage_follows_is_said_all_the_same(journal: Outbox) -> None:
    journal.append(END, 0)
    damage(journal)
    writer = Writer()
    carried(journal, writer)
    assert writer.log.endswith(DAMAGE)
    assert [gone.said is not None for gone in writer.gone] == [True]


def test_an_end_that_the_writer_has_already_is_said_by_an_agent_that_never_saw_it_pass(journal: Outbox) -> None:
    journal.append(END, 0)
    writer = Writer()
    carried(journal, writer, offset=journal.end)
    assert writer.log == b""
    assert [gone.said is not None for gone in writer.gone] == [True]


def test_a_rank_that_said_no_end_is_said_to_have_said_none(journal: Outbox) -> None:
    damage(journal)
    writer = Writer()
    carried(journal, writer)
    assert [gone.said for gone in writer.gone] == [None]
