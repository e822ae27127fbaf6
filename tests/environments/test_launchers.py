"""One contract over every launcher: what its variables say is taken whole, and passed over whole if it makes no sense.

The variables of each row are those that were seen under the real launcher, or read in its source.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from disttrack.environments.detect import detect, in_group
from disttrack.environments.launch import Identity, launcher_pid, own_key, parent_key
from disttrack.environments.statements import statements
from disttrack.settings import Settings

REPOSITORY = Path(__file__).parents[2]


class Launcher(NamedTuple):
    """A launcher as rank 5 of 8 sees it, on the second of two nodes with four ranks each (local rank 1)."""

    source: str
    environ: dict[str, str]
    names: tuple[str, str, str]  # of rank, world size, local rank; "" where there is none
    nodes: int | None = 2
    meeting: str = ""
    hints: tuple[tuple[str, str], ...] = ()
    key: str | None = "parent"


MASTER = {"MASTER_ADDR": "node0", "MASTER_PORT": "29500"}
RANKS = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
USUAL = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
AT_MASTER = "tcp://node0:29500/ranks"

LAUNCHERS = {
    "torchrun": Launcher(
        "torchrun",
        RANKS
        | MASTER
        | {"TORCHELASTIC_RUN_ID": "none", "LOCAL_WORLD_SIZE": "4", "GROUP_RANK": "1", "GROUP_WORLD_SIZE": "2"}
        | {"TORCHELASTIC_RESTART_COUNT": "3", "TORCHELASTIC_USE_AGENT_STORE": "True"},
        USUAL,
        meeting="tcp://node0:29500/none",
        hints=(("TORCHELASTIC_RESTART_COUNT", "3"),),
    ),
    "horovod": Launcher(
        "Horovod",
        {"HOROVOD_RANK": "5", "HOROVOD_SIZE": "8", "HOROVOD_LOCAL_RANK": "1", "HOROVOD_LOCAL_SIZE": "4"}
        | {"HOROVOD_CROSS_RANK": "1", "HOROVOD_CROSS_SIZE": "2"}
        | {"HOROVOD_GLOO_RENDEZVOUS_ADDR": "10.0.0.1", "HOROVOD_GLOO_RENDEZVOUS_PORT": "4711"},
        ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_LOCAL_RANK"),
        meeting="file:horovod-10.0.0.1:4711:e3b0c44298fc1c14",
        key="horovod",
    ),
    "deepspeed": Launcher(
        "DeepSpeed",
        RANKS | MASTER | {"CROSS_RANK": "1", "CROSS_SIZE": "2", "LOCAL_SIZE": "4"},
        USUAL,
        meeting=AT_MASTER,
    ),
    "variables": Launcher("RANK, WORLD_SIZE and LOCAL_RANK", RANKS | MASTER, USUAL, None, AT_MASTER),
    "lightning": Launcher(
        "Lightning",
        {"NODE_RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "8"} | MASTER,
        ("NODE_RANK", "WORLD_SIZE", "LOCAL_RANK"),
        None,
        key=None,
    ),
    "openmpi": Launcher(
        "Open MPI",
        {"OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
        | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMPI_COMM_WORLD_NODE_RANK": "1", "OMPI_MCA_orte_num_nodes": "2"}
        | {"OMPI_MCA_orte_precondition_transports": "8b6800f6-504da1ac", "PMIX_NAMESPACE": "2085158913"},
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
        meeting="file:openmpi-8b6800f6-504da1ac",
    ),
    "mvapich": Launcher(
        "MVAPICH2",
        {"MV2_COMM_WORLD_RANK": "5", "MV2_COMM_WORLD_SIZE": "8", "MV2_COMM_WORLD_LOCAL_RANK": "1"}
        | {"MV2_COMM_WORLD_LOCAL_SIZE": "4"},
        ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK"),
        None,
    ),
    "mpich": Launcher(
        "PMI",
        {"PMI_RANK": "5", "PMI_SIZE": "8", "MPI_LOCALRANKID": "1", "MPI_LOCALNRANKS": "4"},
        ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
        None,
    ),
    "slurm": Launcher(
        "Slurm step",
        {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8"}
        | {"SLURM_LOCALID": "1", "SLURM_STEP_NUM_NODES": "2", "SLURM_NODEID": "1", "SLURM_NTASKS": "8"}
        | {"SLURM_CLUSTER_NAME": "lab", "SLURM_RESTART_COUNT": "1"},
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
        meeting="file:slurm-lab-7.0.1",
        hints=(("SLURM_RESTART_COUNT", "1"),),
    ),
    "lsf": Launcher(
        "LSF",
        {"JSM_NAMESPACE_RANK": "5", "JSM_NAMESPACE_SIZE": "8", "JSM_NAMESPACE_LOCAL_RANK": "1"}
        | {"JSM_NAMESPACE_LOCAL_SIZE": "4", "LSB_JOBID": "99", "PMIX_NAMESPACE": "3"},
        ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_LOCAL_RANK"),
        None,
        meeting="file:lsf-99.0.3",
    ),
    "node ranks": Launcher(
        "RANK and WORLD_SIZE",
        {"RANK": "5", "WORLD_SIZE": "8", "KUBERNETES_SERVICE_HOST": "10.96.0.1"} | MASTER,
        ("RANK", "WORLD_SIZE", ""),
        8,
        AT_MASTER,
    ),
}
"""In the order of the ladder."""

SBATCH = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0", "SLURM_NNODES": "2"}
SINGLE = "single process"


def found(environ: Mapping[str, str], modules: Mapping[str, Any] | None = None, **settings: Any) -> Identity:
    return detect(environ, modules or {}, Settings(**settings))


def told(environ: Mapping[str, str], modules: Mapping[str, Any] | None = None) -> tuple[str, int, int]:
    rank = found(environ, modules).rank
    return rank.source, rank.rank, rank.world_size


def group(rank: int, world_size: int) -> dict[str, Any]:
    distributed = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_rank=lambda: rank,
        get_world_size=lambda: world_size,
    )
    return {"torch": SimpleNamespace(), "torch.distributed": distributed}


every_launcher = pytest.mark.parametrize("name", LAUNCHERS)
every_settled = pytest.mark.parametrize("name", [name for name in LAUNCHERS if name != "lightning"])


# Each launcher by itself


@every_launcher
def test_a_launchers_variables_say_everything(name: str) -> None:
    launcher = LAUNCHERS[name]
    rank, key, hints, meeting, nodes, _ = found(launcher.environ)
    local = 1 if launcher.names[2] else None
    assert (rank.source, rank.rank, rank.world_size, rank.local_rank) == (launcher.source, 5, 8, local)
    assert (key or "").partition(":")[0] == (launcher.key or "")
    assert (nodes, meeting, hints) == (launcher.nodes, launcher.meeting, launcher.hints)
    assert rank.settled == (launcher.key is not None)


@every_launcher
@pytest.mark.parametrize("nonsense", ["", "x", "-1", "0.5", "9" * 5_000, "٣"], ids=lambda text: repr(text[:6]))
@pytest.mark.parametrize("which", [0, 1], ids=["rank", "world size"])
def test_a_rank_that_is_no_number_is_passed_over(name: str, nonsense: str, which: int) -> None:
    launcher = LAUNCHERS[name]
    assert told(launcher.environ | {launcher.names[which]: nonsense}) == (SINGLE, 0, 1)


@every_launcher
@pytest.mark.parametrize("which", [0, 1], ids=["rank", "world size"])
def test_a_row_with_a_variable_missing_is_passed_over(name: str, which: int) -> None:
    environ = {key: value for key, value in LAUNCHERS[name].environ.items() if key != LAUNCHERS[name].names[which]}
    assert told(environ) == (SINGLE, 0, 1)


@every_launcher
def test_a_rank_beyond_the_world_is_passed_over_and_said(name: str) -> None:
    launcher = LAUNCHERS[name]
    environ = launcher.environ | {launcher.names[0]: "8"}
    assert told(environ) == (SINGLE, 0, 1)
    if name != "lightning":
        troubles = [statement.trouble for statement in statements(environ)]
        assert troubles == [f"{launcher.names[0]}=8 is not below {launcher.names[1]}=8"]


@every_launcher
def test_a_local_rank_that_is_no_number_takes_its_row_with_it(name: str) -> None:
    launcher = LAUNCHERS[name]
    if launcher.names[2]:
        assert told(launcher.environ | {launcher.names[2]: "abc"}) == (SINGLE, 0, 1)


@every_launcher
def test_a_world_of_100_000_ranks_is_believed(name: str) -> None:
    launcher = LAUNCHERS[name]
    assert found(launcher.environ | {launcher.names[1]: "100000"}).rank.world_size == 100_000


@every_settled
def test_one_of_one_is_a_run_of_its_own_whatever_shell_it_stands_in(name: str) -> None:
    launcher = LAUNCHERS[name]
    one = {launcher.names[0]: "0", launcher.names[1]: "1"} | ({launcher.names[2]: "0"} if launcher.names[2] else {})
    identity = found(launcher.environ | one)
    if name == "torchrun":  # whose agent is new with each launch, and starts its one rank again
        assert identity.launch_key == parent_key()
    else:
        assert identity[1:5] == (own_key(), launcher.hints, "", 1)
    assert identity.rank.source == launcher.source


@every_settled
def test_a_live_group_of_the_same_size_has_the_last_word_on_the_rank_and_the_launcher_on_the_launch(name: str) -> None:
    launcher = LAUNCHERS[name]
    assert found(launcher.environ, group(5, 8)) == found(launcher.environ)
    other = found(launcher.environ, group(2, 8))
    assert (other.rank.source, other.rank.rank) == ("torch.distributed", 2)
    assert other[1:] == found(launcher.environ)[1:]


@every_settled
def test_a_group_of_some_ranks_leaves_the_launch_whole(name: str) -> None:
    assert found(LAUNCHERS[name].environ, group(1, 4)) == found(LAUNCHERS[name].environ)


@every_launcher
def test_a_group_beyond_the_launcher_is_the_launch(name: str) -> None:
    identity = found(LAUNCHERS[name].environ, group(21, 32))
    assert (identity.rank.source, identity.rank.rank, identity.launch_key) == ("torch.distributed", 21, None)


def test_lightnings_main_process_and_its_children_are_of_the_launch_of_their_group() -> None:
    child = {"NODE_RANK": "0", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}
    main = child | {"LOCAL_RANK": "0"}
    assert told(child) == ("Lightning", 1, 2)
    assert not found(child).rank.settled
    for rank, environ in enumerate((main, child)):
        joined = in_group(environ, group(rank, 2))
        assert joined is not None
        assert (joined.rank.rank, joined.launch_key) == (rank, None)  # the group's store has the key


# Platforms that tell of nodes, not of processes (JAX has no variables of its own: it reads the launchers')

NODES = {
    "Indexed Job": {"JOB_COMPLETION_INDEX": "1", "KUBERNETES_SERVICE_HOST": "10.96.0.1"},
    "Trainer v2": {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "4", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "node0"},
    "SageMaker": {"SM_HOSTS": '["algo-1", "algo-2"]', "SM_CURRENT_HOST": "algo-2", "SM_NUM_GPUS": "4"},
    "Vertex AI": {"CLUSTER_SPEC": '{"task": {"type": "workerpool1", "index": 0}}', "CLOUD_ML_JOB_ID": "17"},
    "accelerate": {"ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "true", "MASTER_PORT": "29500"},
}
NODE_RANKS = {
    "PyTorchJob": {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "PET_NPROC_PER_NODE": "4"},
    "DLC": {"NPROC_PER_NODE": "4", "KUBERNETES_SERVICE_HOST": "10.96.0.1"},
}


@pytest.mark.parametrize("name", NODES)
def test_what_counts_nodes_or_nothing_makes_no_rank_and_the_launcher_inside_does(name: str) -> None:
    assert found(NODES[name]) == found({})
    torchrun = LAUNCHERS["torchrun"].environ
    assert found(NODES[name] | torchrun) == found(torchrun)


@pytest.mark.parametrize("name", NODE_RANKS)
def test_ranks_of_nodes_count_until_the_launcher_inside_says_more(name: str) -> None:
    node = NODE_RANKS[name] | MASTER | {"RANK": "1", "WORLD_SIZE": "2"}
    assert (told(node), found(node).nodes) == (("RANK and WORLD_SIZE", 1, 2), 2)
    torchrun = LAUNCHERS["torchrun"].environ
    assert found(node | torchrun) == found(torchrun)


def test_deepspeed_over_mpi_sets_the_usual_variables_late() -> None:
    openmpi = LAUNCHERS["openmpi"].environ
    before, after = found(openmpi), found(openmpi | RANKS | MASTER)
    assert told(openmpi | RANKS | MASTER) == ("RANK, WORLD_SIZE and LOCAL_RANK", 5, 8)
    assert after.launch_key == before.launch_key


# One inside another


@pytest.mark.parametrize("outer", range(1, len(LAUNCHERS)), ids=list(LAUNCHERS)[1:])
def test_the_innermost_launcher_wins_and_says_all_by_itself(outer: int) -> None:
    """Other launchers' variables of the same process never mix with those of the one that wins."""
    launchers = list(LAUNCHERS.values())
    for inner in launchers[:outer]:
        shared = inner.environ.keys() & launchers[outer].environ.keys()
        if shared & {"RANK", "WORLD_SIZE", "LOCAL_RANK", "PMIX_NAMESPACE"}:
            continue  # the same variables: which of the two it is, others tell
        around = launchers[outer].environ | {launchers[outer].names[0]: "1"}
        assert found(around | inner.environ)[1:5] == found(inner.environ)[1:5]
        assert found(around | inner.environ).rank == found(inner.environ).rank


def test_a_batch_script_that_looks_like_rank_0_of_4_is_a_process_by_itself() -> None:
    assert found(SBATCH)._replace(job=None) == found({})


def test_torchrun_in_each_task_of_a_step_is_torchrun() -> None:
    """The step has one task a node: its rank is that of the node."""
    step = LAUNCHERS["slurm"].environ | {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2"}
    assert told(step | LAUNCHERS["torchrun"].environ) == ("torchrun", 5, 8)


def test_mpirun_in_a_batch_script_is_mpirun() -> None:
    assert told(SBATCH | LAUNCHERS["openmpi"].environ) == ("Open MPI", 5, 8)


def test_a_python_in_the_shell_of_a_step_is_a_run_of_its_own() -> None:
    shell = SBATCH | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_JOB_NAME": "bash"}
    assert told(shell) == ("Slurm step", 0, 1)
    assert found(shell).launch_key == own_key()


def test_pmi_variables_that_srun_set_leave_the_word_to_slurm() -> None:
    step = LAUNCHERS["slurm"].environ
    assert told(step | {"PMI_RANK": "5", "PMI_SIZE": "8", "PMI_JOBID": "7.0"}) == ("Slurm step", 5, 8)
    # Hydra starts its proxies by srun, one a node: its ranks stand below such a task.
    assert told(step | LAUNCHERS["mpich"].environ) == ("PMI", 5, 8)


def test_an_empty_rank_leaves_the_word_to_the_launcher_around() -> None:
    step = LAUNCHERS["slurm"].environ
    assert told(step | {"RANK": "", "WORLD_SIZE": "4"}) == ("Slurm step", 5, 8)
    assert told(step | {"RANK": "7", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}) == ("Slurm step", 5, 8)
    assert told(step | {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "abc"}) == ("Slurm step", 5, 8)


def test_sources_that_contradict_each_other_are_all_shown() -> None:
    environ = (
        LAUNCHERS["torchrun"].environ | LAUNCHERS["openmpi"].environ | {"OMPI_COMM_WORLD_RANK": "0", "PMI_RANK": "x"}
    )
    said = [(statement.source, statement.rank, statement.trouble) for statement in statements(environ)]
    assert said == [
        ("RANK and WORLD_SIZE", 5, None),
        ("Open MPI", 0, None),
        ("PMI", None, "PMI_RANK='x' is no number"),
    ]


def test_ranks_of_one_host_meet_nowhere() -> None:
    for host in ("127.0.0.1", "localhost", "::1"):
        assert found(RANKS | MASTER | {"MASTER_ADDR": host}).meeting == ""
    one_node = found(RANKS | MASTER | {"LOCAL_WORLD_SIZE": "8"})
    assert (one_node.nodes, one_node.meeting) == (1, "")


# Set by hand


def test_ranks_set_by_hand_over_several_nodes_meet_where_rank_0_opens_its_store() -> None:
    identity = found(MASTER, rank=5, world_size=8)
    assert (identity.launch_key, identity.meeting, identity.nodes) == (parent_key(), AT_MASTER, None)
    assert found(MASTER, rank=0, world_size=1)[1:5] == (own_key(), (), "", 1)


@every_settled
def test_ranks_set_by_hand_belong_to_the_launch_around_them(name: str) -> None:
    environ = LAUNCHERS[name].environ
    assert found(environ, rank=3, world_size=8)[1:] == found(environ)[1:]


# Processes that a rank starts


def test_a_child_of_a_rank_is_not_taken_for_that_rank_where_it_may_get_a_group(tmp_path: Path) -> None:
    """A script in each task of a step starts four processes by multiprocessing: they inherit the task's rank."""
    code = """
import json, multiprocessing, os, sys
from disttrack.environments.detect import detect
from disttrack.settings import Settings

def tell(queue):
    rank = detect(os.environ, sys.modules, Settings()).rank
    queue.put([rank.source, rank.rank, rank.settled])

def told_by(context, **own):
    os.environ.update(own)
    queue = context.SimpleQueue()
    child = context.Process(target=tell, args=(queue,))
    child.start()
    said = queue.get()
    child.join()
    return said

if __name__ == "__main__":
    contexts = [multiprocessing.get_context(kind) for kind in ("fork", "spawn", "forkserver")]
    own = {name: "0" for name in ("LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT")}
    inherited = [told_by(context) for context in contexts]
    agents = [told_by(context, TORCHELASTIC_RUN_ID="own", RANK="3", WORLD_SIZE="4", **own) for context in contexts[:2]]
    print(json.dumps([inherited, agents]))
"""
    environ = {**os.environ, **LAUNCHERS["slurm"].environ, "PYTHONPATH": str(REPOSITORY)}
    script = tmp_path / "script.py"
    script.write_text(code)
    ended = subprocess.run([sys.executable, script], env=environ, check=True, stdout=subprocess.PIPE, timeout=300)
    inherited, agents = json.loads(ended.stdout)
    assert inherited == [["Slurm step", 5, False]] * 3
    assert agents == [["torchrun", 3, True]] * 2


def test_wrappers_between_launcher_and_rank_change_nothing() -> None:
    code = (
        "import os; from disttrack.environments.launch import launcher_pid as of; print(of(os.environ, ('PMI_RANK',)))"
    )
    wrapped = ["sh", "-c", '"$@"; exit $?', "wrapper", sys.executable, "-c", code]
    environ = {**os.environ, "PMI_RANK": "1", "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(wrapped, env=environ, check=True, stdout=subprocess.PIPE, timeout=300)
    assert int(ended.stdout) == os.getpid()
    assert launcher_pid({}, ("PMI_RANK",)) == os.getppid()


#: Prints what started the ranks by RANK, WORLD_SIZE and LOCAL_RANK, as a process sees it that has them.
STARTED_BY = """
import os, sys
from disttrack.environments.detect import detect
from disttrack.settings import Settings
print(detect(os.environ, {}, Settings()).launch_key.rsplit(":", 2)[1], flush=True)
"""

COPIES = 'export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_STEP_NUM_TASKS LOCAL_RANK=$SLURM_LOCALID; "$@"; exit $?'
#: Another rank runs until this one, the same as the task, has told.
LAUNCHES = """
LOCAL_RANK=0 WORLD_SIZE=8 RANK=0 sh -c 'touch "$0"; exec sleep 60' "$STARTED" & other=$!
until [ -e "$STARTED" ]; do sleep 0.05; done
LOCAL_RANK=5 WORLD_SIZE=8 RANK=5 "$@"
kill $other
echo $$
"""


def started_by(script: str, directory: Path) -> set[int]:
    """Return what processes say that a shell started which is a task of a step: rank 5 of 8."""
    command = ["sh", "-c", script, "task", sys.executable, "-c", STARTED_BY]
    environ = {**os.environ, **LAUNCHERS["slurm"].environ, "PYTHONPATH": str(REPOSITORY)}
    environ["STARTED"] = str(directory / "started")
    ended = subprocess.run(command, env=environ, check=True, stdout=subprocess.PIPE, timeout=60)
    return set(map(int, ended.stdout.split()))


def test_ranks_that_a_wrapper_copies_from_its_launchers_are_of_that_launch(tmp_path: Path) -> None:
    """Else each rank would have a launcher, and so a run, of its own: its wrapper."""
    assert started_by(COPIES, tmp_path) == {os.getpid()}


def test_a_launcher_inside_a_task_whose_rank_is_also_one_of_its_own_is_the_launcher(tmp_path: Path) -> None:
    (launcher,) = started_by(LAUNCHES, tmp_path)
    assert launcher != os.getpid()
