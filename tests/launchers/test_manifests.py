"""The manifests: what Kubeflow's published models know and nothing besides, and what comes of their commands."""

from __future__ import annotations

import copy
import json
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from kubeflow.training import ApiClient  # pyright: ignore[reportMissingTypeStubs]  # it has none
from kubeflow_trainer_api.models.trainer_v1alpha1_train_job import (  # pyright: ignore[reportMissingTypeStubs]  # nor this
    TrainerV1alpha1TrainJob,
)

from tests.launchers.training import LAUNCHERS, ROWS, TRAIN, check_doctor
from tests.nodes.cluster import Cluster
from tests.nodes.torchrun import ended

Manifest = dict[str, Any]

#: Mappings whose keys the models leave open: names of resources, and kinds of pods, of which PyTorchJob has two.
FREE = {"limits", "pytorchReplicaSpecs"}


def manifest(name: str) -> Manifest:
    loaded: Manifest = yaml.safe_load((LAUNCHERS / "kubernetes" / name).read_text())
    return loaded


class Response:
    """What the client of Kubernetes takes for a server's answer."""

    def __init__(self, content: object) -> None:
        self.data = json.dumps(content)


def as_pytorchjob(content: Manifest) -> Manifest:
    """Return what the model keeps of a manifest; raise ValueError where something that it needs is not there."""
    client: Any = ApiClient()
    parsed = client.deserialize(Response(content), "KubeflowOrgV1PyTorchJob")
    kept: Manifest = client.sanitize_for_serialization(parsed)
    return kept


def as_trainjob(content: Manifest) -> Manifest:
    """Return what the model keeps of a manifest; raise ValueError where something that it needs is not there."""
    parsed = TrainerV1alpha1TrainJob.from_dict(content)
    assert parsed is not None
    kept: Manifest = parsed.to_dict()
    return kept


MANIFESTS = pytest.mark.parametrize(
    ("name", "kept_of"), [("pytorchjob.yaml", as_pytorchjob), ("trainjob.yaml", as_trainjob)]
)


def mappings(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every mapping whose keys the models define."""
    if isinstance(value, dict):
        if path[-1:] == () or path[-1] not in FREE:
            yield path
        for key, inner in cast("Manifest", value).items():
            yield from mappings(inner, (*path, key))
    if isinstance(value, list):
        for index, inner in enumerate(cast("list[object]", value)):
            yield from mappings(inner, (*path, index))


@MANIFESTS
def test_a_model_keeps_all_that_its_manifest_says(name: str, kept_of: Callable[[Manifest], Manifest]) -> None:
    assert kept_of(manifest(name)) == manifest(name)
    assert set(manifest(name)["spec"].get("pytorchReplicaSpecs", {})) <= {"Master", "Worker"}


@MANIFESTS
def test_a_field_that_the_api_does_not_know_fails_wherever_it_stands(
    name: str, kept_of: Callable[[Manifest], Manifest]
) -> None:
    paths = list(mappings(manifest(name)))
    assert len(paths) > 30
    for path in paths:
        wrong = copy.deepcopy(manifest(name))
        place: Any = wrong
        for step in path:
            place = place[step]
        place["notAField"] = "x"
        assert kept_of(wrong) != wrong, path


@MANIFESTS
def test_a_manifest_without_what_its_model_needs_is_refused(name: str, kept_of: Callable[[Manifest], Manifest]) -> None:
    wrong = manifest(name)
    del wrong["spec"]["runtimeRef" if name == "trainjob.yaml" else "pytorchReplicaSpecs"]
    with pytest.raises(ValueError, match=r"runtimeRef|pytorch_replica_specs"):
        kept_of(wrong)


def container(name: str) -> Manifest:
    """Return the container of a pod: its command, and its variables that have a value in the manifest."""
    spec = manifest(name)["spec"]
    if name == "trainjob.yaml":
        return cast("Manifest", spec["trainer"])
    master, worker = (spec["pytorchReplicaSpecs"][kind] for kind in ("Master", "Worker"))
    assert master["template"] == worker["template"]
    return cast("Manifest", master["template"]["spec"]["containers"][0])


def pod(name: str, index: int, shared: Path) -> dict[str, str]:
    """Return what the operator (training-operator's envvar.go, trainer's torch.go) and the cluster set in a pod."""
    ours = {"DISTTRACK_DIR": str(shared), "DISTTRACK_JOURNAL_DIR": "/var/tmp/journals", "DISTTRACK_ID": "train"}
    assert {entry["name"] for entry in container(name)["env"]} == {*ours, "DISTTRACK_JOB_KEY"}
    elastic = {
        "PET_NNODES": "2",
        "PET_NPROC_PER_NODE": "4",
        "PET_NODE_RANK": str(index),
        "PET_MASTER_ADDR": "node0",
        "PET_MASTER_PORT": "29500",
    }
    of_nodes = {"RANK": str(index), "WORLD_SIZE": "8", "MASTER_ADDR": "node0", "MASTER_PORT": "23456"}
    service = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    return ours | elastic | service | (of_nodes if name == "pytorchjob.yaml" else {})


@pytest.mark.real(timeout_s=180)
@pytest.mark.parametrize(
    "name", ["pytorchjob.yaml", pytest.param("trainjob.yaml", marks=pytest.mark.long(timeout_s=180))]
)
def test_pods_with_a_manifests_command_are_one_run_and_pods_made_again_its_next_attempt(
    cluster: Cluster, name: str
) -> None:
    (cluster.shared / "train.py").write_text(textwrap.dedent(TRAIN))
    command = container(name)["command"]
    for attempt in range(2):
        pods = [node.popen(command, pod(name, node.index, cluster.shared)) for node in cluster.nodes]
        ended(pods, timeout_s=80)
        run = json.loads(cluster[0].cli("show", "train", "--json"))
        assert (run["state"], run["world_size"], run["ranks_joined"], run["attempt"]) == ("finished", 8, 8, attempt)
        assert run["group"]
        assert [rank["job_type"] for rank in run["ranks"]] == [f"rank-{rank}" for rank in range(8)]
        assert [rank["node"] for rank in run["ranks"]] == ["node0"] * 4 + ["node1"] * 4
        assert [rank["rows"] for rank in run["ranks"]] == [ROWS] * 8
        assert run["receipt"]["stored"] == run["receipt"]["logged"] == 8 * ROWS * (attempt + 1)
    told = [
        node.popen([*command[:-3], "-m", "disttrack", "doctor"], pod(name, node.index, cluster.shared))
        for node in cluster.nodes
    ]
    check_doctor("".join(ended(told)), 8, "torchrun")
