"""Bad links between nodes: no row is lost, none comes twice, and log() waits for nothing meanwhile."""

from collections.abc import Iterator

import pytest

from tests.faults.jobs import may_sleep
from tests.nodes.cluster import Cluster
from tests.nodes.job import disttrack_processes, serving
from tests.nodes.plain import PlainJob, Told
from tests.road.site import wait_until


def check_log_waited_for_nothing(told: dict[int, Told]) -> None:
    # That none waits until the network is back is shown by ranks that log on without it: logs_on().
    waited, rows = sum(one.waited for one in told.values()), sum(one.rows - 50 for one in told.values())
    slowest_s = max(one.slowest_s for one in told.values())
    print(f"log(): {waited} waits in {rows} calls, slowest {slowest_s:.4f} s")
    assert waited <= sum(may_sleep(one.rows) for one in told.values())


def check_whole(job: PlainJob, told: dict[int, Told]) -> None:
    """Check that one run has every row of every rank once, and that nothing of disttrack remains."""
    check_log_waited_for_nothing(told)
    assert {one.pending + one.dropped for one in told.values()} == {0}
    run = job.only_run(job.nodes[0])
    # A rank that asked for its run's id and got no answer for 10 s has its own, which is an alias.
    assert run["id"] in {one.run_id for one in told.values()}
    assert (run["state"], run["ranks_joined"], run["attempt"]) == ("finished", len(told), 0)
    assert job.rows(job.nodes[0], run["id"]) == {rank: list(range(one.rows)) for rank, one in told.items()}
    job.gone()


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(1_200, marks=pytest.mark.real(timeout_s=120), id="12 s"),
        pytest.param(6_500, marks=pytest.mark.long(timeout_s=300), id="65 s"),  # longer than a writer is waited for
        pytest.param(60_000, marks=pytest.mark.soak(timeout_s=1_800), id="10 min"),
    ],
)
def test_a_cut_link_and_links_that_carry_one_way_only_cost_no_row(
    wired: Cluster, ports: Iterator[int], rows: int
) -> None:
    job = PlainJob(wired, next(ports), wired.nodes)
    job.started()
    wired.wire.cut("node1")
    wired.wire.one_way("node2", "from")  # its records arrive, their acknowledgements do not
    wired.wire.one_way("node3", "to")
    job.logs_on(rows, limit_s=120 + rows / 50)
    wired.wire.heal()
    job.stop()
    check_whole(job, job.ended())


@pytest.mark.real(timeout_s=120)
def test_a_network_that_loses_a_third_of_its_packets_costs_no_row(wired: Cluster, ports: Iterator[int]) -> None:
    job = PlainJob(wired, next(ports), wired.nodes[:2])
    job.started()
    wired.wire.loss(0.3)
    job.logs_on(1000)
    wired.wire.loss(0)
    job.stop()
    check_whole(job, job.ended())


@pytest.mark.long(timeout_s=180)
def test_half_a_second_of_latency_costs_no_row(wired: Cluster, ports: Iterator[int]) -> None:
    wired.wire.delay(0.5)
    job = PlainJob(wired, next(ports), wired.nodes[:2])
    job.started()
    job.logs_on(500)
    job.stop()
    check_whole(job, job.ended())


@pytest.mark.long(timeout_s=180)
def test_a_narrow_link_keeps_the_rest_in_the_journals_not_in_memory(wired: Cluster, ports: Iterator[int]) -> None:
    job = PlainJob(wired, next(ports), wired.nodes[:2], wide=200, pause_s=0.005)
    job.started()
    agent = serving(wired[1])
    before = wired[1].memory(agent)
    wired.wire.rate(64_000)
    job.logs_on(2000)
    assert wired[1].memory(agent) - before < 32 << 20
    wired.wire.rate(None)
    job.stop()
    check_whole(job, job.ended())


@pytest.mark.real(timeout_s=120)
def test_an_agent_leaves_a_half_open_connection_for_the_writer_that_came_after(
    wired: Cluster, ports: Iterator[int]
) -> None:
    job = PlainJob(wired, next(ports), wired.nodes[:2])
    job.started()
    wired.wire.cut("node0")
    writer = serving(wired[0])
    wired[0].kill_process(writer)  # its FIN is lost
    job.logs_on(300)
    serving(wired[0], instead_of=writer)
    wired.wire.heal()
    job.stop()
    check_whole(job, job.ended())


@pytest.mark.real(timeout_s=120)
def test_ranks_whose_node_is_reached_when_the_writer_has_gone_continue_its_run(
    wired: Cluster, ports: Iterator[int]
) -> None:
    job = PlainJob(wired, next(ports), wired.nodes[:3], start=False, meet=None)
    wired.wire.cut("node1")
    wired.wire.cut("node2")
    job.start(*job.nodes[1:])
    job.start(job.nodes[0])
    job.started(job.nodes[0])
    job.logs_on(200, job.nodes[0])
    job.stop(*job.ranks_of(job.nodes[0]))
    job.ended(job.nodes[0])
    wait_until(lambda: not disttrack_processes(wired[0]), "the writer goes")
    wired.wire.heal()
    job.started()
    job.logs_on(200, *job.nodes[1:])
    job.stop()
    check_whole(job, job.ended())
