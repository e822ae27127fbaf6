"""Which attempt an incarnation joins, against a model of an elastic launcher."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from disttrack.records.types import Join, Rank, Role, new_incarnation
from disttrack.writer.attempts import Member, place, same_node
from tests.journal.joins import make_join

TICKS = 100


@dataclass
class Worker:
    """A process of a round: where it was started, and what became of it."""

    round: int
    join: Join
    alive: bool = True
    clean: bool = False
    attempt: int | None = None
    role: Role = "rank"


@dataclass
class Job:
    """A launcher's nodes, and the writer's word on each worker that came to it."""

    now: int = 1_000 * TICKS
    launch: int = 0
    counts: dict[int, int] = field(default_factory=lambda: defaultdict[int, int](int))
    workers: list[Worker] = field(default_factory=list[Worker])

    def start(self, number: int, nodes: list[int], local_size: int, chance: Random) -> list[Worker]:
        """Starts a round: the ranks of the nodes in this order, those of a node within a second."""
        self.now += 10 * TICKS
        world_size = len(nodes) * local_size
        started: list[Worker] = []
        for rank in range(world_size):
            node, local_rank = nodes[rank // local_size], rank % local_size
            join = make_join(
                incarnation=new_incarnation(),
                launch_key=f"parent:boot{node}:{self.launch}",
                boot_id=f"boot{node}",
                rank=Rank(rank=rank, world_size=world_size, local_rank=local_rank, source="torchrun"),
                hints=(("TORCHELASTIC_RESTART_COUNT", str(self.counts[node])),),
                start_time=self.now + 1_000_000 * node + chance.randrange(TICKS),
            )
            started.append(Worker(number, join))
        return started

    def arrive(self, worker: Worker) -> None:
        members = [
            Member(known.join, known.attempt, not known.alive, known.clean)
            for known in self.workers
            if known.attempt is not None and known.role == "rank"
        ]
        worker.attempt, worker.role = place(worker.join, worker.alive, members)
        self.workers.append(worker)

    def told(self) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
        """Returns of which rounds the ranks of each attempt are, and in which attempts those of each round."""
        rounds: dict[int, set[int]] = defaultdict(set)
        attempts: dict[int, set[int]] = defaultdict(set)
        for worker in self.workers:
            if worker.role == "rank" and worker.attempt is not None:
                rounds[worker.attempt].add(worker.round)
                attempts[worker.round].add(worker.attempt)
        return rounds, attempts


@settings(max_examples=300)
@given(seed=st.integers(0, 2**32))
def test_each_attempt_holds_the_incarnations_of_one_round_of_an_elastic_job(seed: int) -> None:
    chance = Random(seed)  # some hundred choices an example: drawn one by one they take ten times as long
    job, nodes = Job(), list(range(chance.randint(1, 3)))
    local_size = chance.randint(1, 3)
    missed: list[Worker] = []  # dead before they met the writer: their journals are found later
    for number in range(chance.randint(2, 5)):
        coming = job.start(number, nodes, local_size, chance)
        started = list(coming)
        chance.shuffle(coming)
        dead_early = chance.choice([0, chance.randrange(len(coming))])
        missed += coming[:dead_early]
        present: list[Worker] = []
        for worker in coming[dead_early:]:
            living = [other for other in present if other.alive]
            # One may die while others are still coming. Where all others are dead, nobody could tell that a rank of a
            # node from which nobody came yet is not of the next round.
            told = any(same_node(other.join, worker.join) for other in present)
            if living and chance.random() < 0.3 and (len(living) > 1 or told):
                living[0].alive = False
            job.arrive(worker)
            present.append(worker)
            if missed and chance.random() < 0.3:
                late = missed.pop(chance.randrange(len(missed)))
                late.alive = False
                if any(same_node(other.join, late.join) for other in present):
                    job.arrive(late)
        for worker in started:
            worker.alive = False  # the launcher ends all before it starts the next
        match chance.choice(["failure", "failure", "up", "down", "requeue"]):
            case "up":
                nodes = [*nodes, max(nodes) + 1]
            case "down" if len(nodes) > 1:
                nodes.remove(chance.choice(nodes))
            case "requeue":
                job.launch += 1
                job.counts.clear()
                local_size = chance.randint(1, 3)
            case _:
                job.counts[chance.choice(nodes)] += 1
                chance.shuffle(nodes)
    rounds, attempts = job.told()
    assert all(len(found) == 1 for found in rounds.values()), rounds  # none is mixed
    assert all(len(found) == 1 for found in attempts.values()), attempts  # and none torn apart
    assert sorted(rounds) == list(range(len(rounds)))
    assert [min(rounds[attempt]) for attempt in sorted(rounds)] == sorted(attempts)


def trial(*, start: int, world_size: int = 1, node: str = "node0") -> Join:
    """Returns a process of a Tune trial: of one launch on all nodes, without hints."""
    rank = Rank(rank=0, world_size=world_size, local_rank=0, source="Ray Tune")
    return make_join(incarnation=new_incarnation(), launch_key="ray:tune:exp", rank=rank, node=node, start_time=start)


def test_a_trial_that_was_paused_goes_on_in_its_attempt_on_any_node_and_a_failed_one_is_tried_again() -> None:
    paused = Member(trial(start=1_000), 0, gone=True, clean=True, stopped=True)
    assert place(trial(start=9_000), True, [paused]) == (0, "rank")
    assert place(trial(start=9_000, node="node1"), True, [paused]) == (0, "rank")
    resumed = Member(trial(start=9_000), 0, gone=True, clean=False)
    assert place(trial(start=20_000), True, [paused, resumed]) == (1, "rank")
    retried = Member(trial(start=20_000), 1, gone=True, clean=True, stopped=True)
    assert place(trial(start=30_000), True, [paused, resumed, retried]) == (1, "rank")


def test_who_was_stopped_and_comes_back_in_another_size_is_another_attempt() -> None:
    paused = Member(trial(start=1_000), 0, gone=True, clean=True, stopped=True)
    assert place(trial(start=9_000, world_size=2), True, [paused]) == (1, "rank")


def test_a_living_rank_in_place_of_one_that_nobody_has_heard_of_is_the_next_attempt() -> None:
    """A node went without a word, and the job was started on another with the same id."""
    chance, job = Random(0), Job()
    first, second = (job.start(number, [node], 2, chance) for number, node in enumerate((0, 1)))
    members = [Member(worker.join, 0, gone=False, clean=False, heard=False) for worker in first]
    assert place(second[0].join, True, members) == (1, "rank")
    members.append(Member(second[0].join, 1, gone=False, clean=False))
    assert place(second[1].join, True, members) == (1, "rank")


def test_what_died_opens_no_attempt_in_place_of_one_that_may_live() -> None:
    chance, job = Random(0), Job()
    living, dead = (job.start(number, [node], 1, chance)[0] for number, node in enumerate((0, 1)))
    for heard in (False, True):
        members = [Member(living.join, 0, gone=False, clean=False, heard=heard)]
        assert place(dead.join, False, members) == (0, "claimant")
    assert place(dead.join, True, members) == (0, "claimant")  # both live
