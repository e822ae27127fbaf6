"""Every history of losses, repeats, crashes and second writers ends with each byte in the log, once, in order."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from disttrack.transport.streams import RESEND_AT_MOST_S, Incoming, Outgoing, Passing

RECORD = 10  # bytes
Event = Callable[["Road", int], None]


class Welcome(NamedTuple):
    writer: int
    offset: int


class Data(NamedTuple):
    offset: int
    end: int


class Ack(NamedTuple):
    offset: int


class Unknown(NamedTuple):
    pass


class Hello(NamedTuple):
    pass


Message = Welcome | Data | Ack | Unknown | Hello


class Writer:
    """A life of a writer: what it knows of the one incarnation, and what it has appended to its segment."""

    def __init__(self, number: int, log: list[tuple[int, int]]) -> None:
        self.number = number
        self.log = log  # of all writers: what is on disk
        self.incoming: Incoming | None = None
        self.pending: list[tuple[int, int]] = []
        self.alive = True

    def take(self, message: Message) -> list[Message]:
        if isinstance(message, Hello):
            if self.incoming is None:
                self.incoming = Incoming(whole(self.log))
            return [Welcome(self.number, self.incoming.committed)]
        if self.incoming is None:
            return [Unknown()]
        if isinstance(message, Data):
            known = self.incoming.fresh(message.offset, message.end - message.offset)
            if known is None:
                return [Ack(self.incoming.committed) if message.end <= self.incoming.end else Unknown()]
            assert known >= 0  # so many of its bytes are left off
            self.incoming.take(message.end - message.offset - known)
            self.pending.append((message.offset + known, message.end))
        return []

    def commit(self) -> list[Message]:
        if self.incoming is None or not self.pending:
            return []
        self.log.extend(self.pending)
        self.pending.clear()
        self.incoming.commit()
        return [Ack(self.incoming.committed)]

    def full_disk(self) -> list[Message]:
        if self.incoming is None or not self.pending:
            return []
        self.pending.clear()
        self.incoming.give_up()
        return [Unknown()]


def whole(log: list[tuple[int, int]]) -> int:
    """Return up to where a log has every byte (what writer.history does)."""
    end = 0
    for first, last in sorted(log):
        if first > end:
            break
        end = max(end, last)
    return end


class Road:
    """One incarnation, with or without an agent between it and its writers, and what may happen on the way."""

    def __init__(self, *, agent: bool) -> None:
        self.now = 0.0
        self.journal = 0  # its end
        self.log: list[tuple[int, int]] = []
        self.promised = 0  # the highest acknowledgement that reached the rank
        self.writers = [Writer(0, self.log)]
        self.outgoing: Outgoing | None = None
        self.passing = Passing() if agent else None
        self.up: deque[Message] = deque([Hello()])  # from the rank (or its agent) to the writer
        self.down: deque[Message] = deque()

    # The rank

    def log_rows(self, count: int) -> None:
        self.journal += count * RECORD

    def wait(self, count: int) -> None:
        self.now += count * RESEND_AT_MOST_S / 3

    def send(self, count: int) -> None:
        out = self.outgoing
        if out is None:
            return
        out.resend(self.now)
        if out.has_room and out.sent < self.journal:
            data = Data(out.sent, min(out.sent + count * RECORD, self.journal))
            out.took(data.end, self.now)
            self._pass_on(data)

    def _pass_on(self, data: Data) -> None:
        if self.passing is None:
            self.up.append(data)
        elif not self.passing.welcomed:
            self._hear(Unknown())
        elif self.passing.wants(*data):
            self.up.append(data)
            self.passing.took(data.end)
        else:
            self._hear(Ack(self.passing.acked))

    def _hear(self, message: Message) -> None:
        if isinstance(message, Welcome):
            self.outgoing = Outgoing(message.offset, self.now)
        elif isinstance(message, Unknown):
            self.outgoing = None
            self.up.append(Hello())
        elif isinstance(message, Ack) and self.outgoing is not None:
            self.outgoing.acknowledged(message.offset, self.now)
            self.promised = max(self.promised, message.offset)

    # The way

    def deliver_up(self, count: int) -> None:
        writer = self._writer(count)
        if self.up and writer is not None:
            message = self.up.popleft()
            if count == 1 and self.passing is None:
                self.up.append(message)  # it comes once more, and late
            self.down.extend(writer.take(message))

    def _writer(self, count: int) -> Writer | None:
        """Return whom messages reach now: of several the newest one, where there is an agent."""
        living = [writer for writer in self.writers if writer.alive]
        return living[-1 if self.passing is not None else count % len(living)] if living else None

    def deliver_down(self, _: int) -> None:
        if not self.down:
            return
        message = self.down.popleft()
        if self.passing is not None:
            if isinstance(message, Welcome):
                self.passing.welcome(message.offset)
            elif isinstance(message, Ack):
                self.passing.acknowledged(message.offset)
            elif isinstance(message, Unknown):
                self.passing.broke()
        self._hear(message)

    def lose(self, count: int) -> None:
        """Lose a message; of an agent's connection one is lost only with all of them, and the agent knows."""
        if self.passing is not None:
            self._break(self.passing)
        elif count % 2 and self.up:
            self.up.popleft()
        elif self.down:
            self.down.popleft()

    def restart_the_agent(self, _: int) -> None:
        if self.passing is not None:
            self.passing = Passing()
            self._break(self.passing)

    def _break(self, passing: Passing) -> None:
        self.up.clear()
        self.down.clear()
        passing.broke()
        self._hear(Unknown())

    # The writers

    def commit(self, count: int) -> None:
        writer = self._writer(count)
        if writer is not None:
            self.down.extend(writer.commit())

    def fill_the_disk(self, count: int) -> None:
        writer = self._writer(count)
        if writer is not None:
            self.down.extend(writer.full_disk())

    def next_writer(self, count: int) -> None:
        """Have another writer begin; the one before it has died, or has not."""
        self.writers[-1].alive = count % 2 == 0
        self.writers.append(Writer(len(self.writers), self.log))
        if self.passing is not None:
            self._break(self.passing)

    # What must hold

    def check(self) -> None:
        """No hole below what is stored, and nothing acknowledged that is not."""
        assert whole(self.log) == max((last for _, last in self.log), default=0)
        assert self.promised <= whole(self.log) <= self.journal
        assert self.outgoing is None or self.outgoing.acked <= whole(self.log)

    def heal(self) -> None:
        """Let nothing go wrong any more: without any help, everything arrives."""
        if not self.writers[-1].alive:
            self.next_writer(0)
        self.writers = self.writers[-1:]
        for _ in range(2 * (self.journal // RECORD) + 50):
            if whole(self.log) == self.journal:
                return
            self.now += 2 * RESEND_AT_MOST_S
            if self.outgoing is None and not self.up and not self.down:
                self.up.append(Hello())  # who is not answered asks again
            self.send(5)
            while self.up:
                self.down.extend(self.writers[0].take(self.up.popleft()))
            self.down.extend(self.writers[0].commit())
            while self.down:
                self.deliver_down(0)
        raise AssertionError(f"{whole(self.log)} of {self.journal} bytes arrived")


EVENTS = (
    *(Road.log_rows, Road.wait, Road.send, Road.send, Road.deliver_up, Road.deliver_up, Road.deliver_down),
    *(Road.deliver_down, Road.lose, Road.restart_the_agent, Road.commit, Road.fill_the_disk, Road.next_writer),
)


class Histories(RuleBasedStateMachine):
    """Histories that Hypothesis makes, and shortens where one fails."""

    road = Road(agent=False)

    @initialize(agent=strategies.booleans())
    def begin(self, agent: bool) -> None:
        self.road = Road(agent=agent)

    @rule(event=strategies.sampled_from(EVENTS), count=strategies.integers(1, 6))
    def happens(self, event: Event, count: int) -> None:
        event(self.road, count)

    @invariant()
    def holds(self) -> None:
        self.road.check()

    def teardown(self) -> None:
        self.road.heal()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)


def test_ten_thousand_random_histories_end_well() -> None:
    for seed in range(10_000):
        dice = random.Random(seed)
        road = Road(agent=dice.random() < 0.5)
        try:
            for _ in range(60):
                dice.choice(EVENTS)(road, dice.randint(1, 6))
                road.check()
            road.heal()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}") from error
