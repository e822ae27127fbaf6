"""Deaths of disttrack's processes and of whole nodes: the ranks log on, and every row comes home once."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from disttrack.writer.history import read_history
from tests.nodes.cluster import Cluster, Node
from tests.nodes.job import disttrack_processes, said, serving
from tests.nodes.plain import PORT, PlainJob, serve_stores
from tests.nodes.test_links import check_log_waited_for_nothing, check_whole
from tests.road.site import wait_until


@pytest.mark.real(timeout_s=120)
def test_killing_writer_and_agent_again_and_again_costs_no_row(wired: Cluster, ports: Iterator[int]) -> None:
    job = PlainJob(wired, next(ports), wired.nodes[:2])
    job.started()
    for victims in ([0], [1], [0, 1], [0], [0]):
        nodes = [wired[index] for index in victims]
        former = [serving(node) for node in nodes]
        for node, process in zip(nodes, former, strict=True):
            node.kill_process(process)
        for node, process in zip(nodes, former, strict=True):
            serving(node, instead_of=process)
        job.logs_on(50)
    job.stop()
    check_whole(job, job.ended())


@pytest.mark.long(timeout_s=180)
def test_a_stopped_writer_is_waited_for_by_both_nodes(wired: Cluster, ports: Iterator[int]) -> None:
    job = PlainJob(wired, next(ports), wired.nodes[:2])
    job.started()
    writer = serving(wired[0])
    wired[0].send_signal(writer.pid, signal.SIGSTOP)
    job.logs_on(1300)  # longer than an agent's patience with a link
    assert serving(wired[0]) == writer
    wired[0].send_signal(writer.pid, signal.SIGCONT)
    job.stop()
    check_whole(job, job.ended())


@pytest.mark.real(timeout_s=120)
def test_a_run_directory_removed_in_mid_job_is_filled_again(wired: Cluster, ports: Iterator[int]) -> None:
    job = PlainJob(wired, next(ports), wired.nodes[:2])
    job.started()
    job.stop(1, 3)  # one rank of each node has ended before
    wait_until(lambda: all((job.directory / f"ended-{rank}.json").exists() for rank in (1, 3)), "two ranks end")
    (directory,) = (path for path in (job.root / "demo").iterdir() if not path.name.startswith("."))
    shutil.rmtree(directory, ignore_errors=True)  # the writer may be writing there this moment
    aim = job.logged(0) + 300
    wait_until(lambda: job.logged(0) > aim, "rank 0 logs on")
    job.stop()
    check_whole(job, job.ended())


@pytest.mark.real(timeout_s=180)
def test_what_a_node_without_its_writer_logged_comes_home_by_ls_and_what_the_dead_one_had_when_it_boots(
    tmp_path: Path, require_nodes: None
) -> None:
    with Cluster(tmp_path) as cluster, serve_stores(cluster):
        job = PlainJob(cluster, PORT, cluster.nodes, init={"settings": {"finish_timeout_s": 2}})
        job.started()
        job.logs_on(100)
        cluster[0].kill()
        lost = {rank: job.logged(rank) for rank in job.ranks_of(cluster[0])}
        job.logs_on(300, cluster[1])
        job.stop()
        wait_until(lambda: disttrack_processes(cluster[1]) != [], "the agent is there")
        process = job.processes["node1"]
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        told = {rank: job.told(rank) for rank in job.ranks_of(cluster[1])}
        check_log_waited_for_nothing(told)
        run = job.only_run(cluster[1])
        rows: dict[int, list[int]] = {}

        def all_are_home() -> bool:  # a command waits 6 s for a busy agent to leave its claim to it
            rows.update(job.rows(cluster[1], run["id"]))
            return all(len(rows[rank]) == one.rows for rank, one in told.items())

        wait_until(all_are_home, "commands on this node bring all home", 60)
        assert {rank: rows[rank] for rank in told} == {rank: list(range(one.rows)) for rank, one in told.items()}
        for rank, count in lost.items():  # what was acknowledged, without a hole
            assert rows[rank] == list(range(len(rows[rank])))
            assert len(rows[rank]) <= count + 1
        cluster[0].boot()
        assert [one["id"] for one in job.runs(cluster[0])] == [run["id"]]
        rows = job.rows(cluster[0], run["id"])
        for rank, count in lost.items():
            assert rows[rank] == list(range(len(rows[rank])))
            assert count <= len(rows[rank]) <= count + 1
        # Where all this took longer than a minute, the agent is the writer by now, and reads of the dead in the log.
        wait_until(lambda: not disttrack_processes(cluster[1]), "the agent goes", 60)
        job.gone()


def has_taken_over(node: Node) -> bool:
    """Say whether the agent of a node has become the writer."""
    return "this node's process takes over" in said(node)


@pytest.mark.long(timeout_s=300)
def test_a_writer_that_took_over_goes_once_the_dead_node_has_brought_its_own_home(
    tmp_path: Path, require_nodes: None
) -> None:
    with Cluster(tmp_path) as cluster, serve_stores(cluster):
        job = PlainJob(cluster, PORT, cluster.nodes, init={"settings": {"finish_timeout_s": 2}})
        job.started()
        cluster[0].kill()
        job.logs_on(100, cluster[1])
        job.stop()
        wait_until(lambda: has_taken_over(cluster[1]), "the agent is the writer", 120)
        cluster[0].boot()
        (run,) = job.runs(cluster[0])
        wait_until(lambda: not disttrack_processes(cluster[1]), "it waits no longer for the dead", 60)
        job.gone()
        rows = job.rows(cluster[0], run["id"])
        assert [rows[rank] for rank in range(4)] == [list(range(len(rows[rank]))) for rank in range(4)]
        assert [len(rows[rank]) for rank in (2, 3)] == [job.told(rank).rows for rank in (2, 3)]
        (directory,) = (path for path in (job.root / "demo").iterdir() if not path.name.startswith("."))
        assert read_history(directory / "log").ended


@pytest.mark.long(timeout_s=300)
def test_a_writer_whose_node_is_gone_is_followed_by_the_lowest_nodes_agent_after_a_minute(
    tmp_path: Path, require_nodes: None
) -> None:
    with Cluster(tmp_path, count=3) as cluster, serve_stores(cluster):
        job = PlainJob(cluster, PORT, cluster.nodes)
        job.started()
        cluster[0].kill()
        (run,) = (path for path in (job.root / "demo").iterdir() if not path.name.startswith("."))
        wait_until(lambda: len(list((run / "log").glob("*.dtl"))) == 2, "another writer opens a segment", 90)
        job.logs_on(300, *cluster.nodes[1:])
        job.stop()
        told = job.ended(*cluster.nodes[1:])
        check_log_waited_for_nothing(told)
        assert {one.pending + one.dropped for one in told.values()} == {0}
        assert len(list((run / "log").glob("*.dtl"))) == 2
        rows = job.rows(cluster[2], run.name)
        assert {rank: rows[rank] for rank in told} == {rank: list(range(one.rows)) for rank, one in told.items()}
