"""Nothing that can be reached, and others that must not be: init returns at once, runs come home whole and apart."""

from collections.abc import Iterator

import pytest

from tests.nodes.cluster import Cluster
from tests.nodes.plain import PlainJob, Told
from tests.nodes.test_links import check_log_waited_for_nothing, check_whole
from tests.road.site import wait_until


@pytest.mark.real(timeout_s=150)
@pytest.mark.parametrize("way", ["cut", pytest.param("no such name", marks=pytest.mark.long)])
def test_a_job_without_store_network_and_root_comes_home_as_one_run(
    wired: Cluster, ports: Iterator[int], way: str
) -> None:
    port = next(ports)
    env = {"MASTER_ADDR": "no-such-host.invalid"} if way == "no such name" else {}
    job = PlainJob(
        wired, port, wired.nodes[:2], start=False, meet=False, init={"settings": {"finish_timeout_s": 2}}, env=env
    )
    job.root.write_text("a file where the directory should be")
    wired.wire.cut("node0")
    wired.wire.cut("node1")
    job.start(*job.nodes)
    job.started()
    job.logs_on(200)
    job.stop()
    told: dict[int, Told] = {}
    for node in job.nodes:
        output, _ = job.processes[node.name].communicate(timeout=300)
        assert job.processes[node.name].returncode == 0, output
        assert "Traceback" not in output
        told |= {rank: job.told(rank) for rank in job.ranks_of(node)}
    check_log_waited_for_nothing(told)
    for one in told.values():
        assert (one.pending, one.stored) == (one.rows, 0)
        assert one.finish_s < 50  # it waits 60 s where it is not told otherwise
        print("init", one.init_s)
    wired.wire.heal()
    job.root.unlink()
    for node in job.nodes:
        job.runs(node)

    def joined() -> list[int]:
        # The nodes' own processes bring home what they can, too: what two of them opened at once becomes one soon.
        return [run["ranks_joined"] for run in job.runs(job.nodes[1])]

    wait_until(lambda: joined() == [4], "all ranks are of one run")
    run = job.only_run(job.nodes[1])
    assert job.rows(job.nodes[0], run["id"]) == {rank: list(range(one.rows)) for rank, one in told.items()}
    job.gone(limit_s=75)


@pytest.mark.real(timeout_s=120)
def test_two_jobs_with_one_group_at_the_same_time_never_mix(wired: Cluster, ports: Iterator[int]) -> None:
    first, second, third = (
        PlainJob(wired, next(ports), nodes, name="common", init={"group": "g"}, start=False)
        for nodes in (wired.nodes[:2], wired.nodes[:2], wired.nodes[:1])
    )
    for label, job in zip("abc", (first, second, third), strict=True):
        job.move_to(job.directory / label)
        job.start(*job.nodes)
    jobs = (first, second, third)
    for job in jobs:
        job.started()
    for job in jobs:
        job.stop()
    told = [job.ended() for job in jobs]
    ids = [{one.run_id for one in each.values()} for each in told]
    assert [len(each) for each in ids] == [1, 1, 1]
    found = [run["id"] for run in first.runs(wired[0])]
    assert sorted(found) == sorted(run_id for (run_id,) in ids)
    for job, (run_id,), each in zip(jobs, ids, told, strict=True):
        assert job.rows(wired[0], run_id) == {rank: list(range(one.rows)) for rank, one in each.items()}
        job.gone()


@pytest.mark.real(timeout_s=120)
def test_two_containers_of_one_host_are_two_nodes_of_one_run(wired: Cluster, ports: Iterator[int]) -> None:
    apart = [{"DISTTRACK_RUNTIME_DIR": f"/tmp/{name}", "DISTTRACK_JOURNAL_DIR": f"/var/tmp/{name}"} for name in "ab"]
    job = PlainJob(wired, next(ports), wired.nodes[:1], each=apart)
    job.started()
    job.stop()
    check_whole(job, job.ended())


@pytest.mark.long(timeout_s=180)
def test_two_jobs_one_after_the_other_at_one_port_are_two_runs(wired: Cluster, ports: Iterator[int]) -> None:
    port = next(ports)
    ids: set[str] = set()
    for name in "ab":
        job = PlainJob(
            wired, port, wired.nodes[:2], name=f"after-{name}", env={"DISTTRACK_DIR": str(wired.shared / "both")}
        )
        job.started()
        job.stop()
        told = job.ended()
        ids |= {one.run_id for one in told.values()}
        job.gone()
        assert {run["id"] for run in job.runs(wired[0])} == ids
    assert len(ids) == 2
