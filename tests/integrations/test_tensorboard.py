"""sync_tensorboard: what SummaryWriters write is in the run at their steps, and so are their event files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import disttrack
from tests.road.site import Site

LIBRARIES = ["torch.utils.tensorboard", "tensorboardX"]

WRITE = """
    import sys
    import disttrack
    run = disttrack.init(project="p", id="a", tensorboard=True)
    import numpy as np
    from {library} import SummaryWriter
    writer = SummaryWriter("logs")
    for step in (0, 5, 3):  # 3 is late
        writer.add_scalar("train/loss", step / 2, step)
    writer.add_scalar("train/loss", np.float32(7), global_step=np.int64(5))
    writer.add_text("note", "as it is", 1)
    writer.add_histogram("weights", np.array([-2.0, 0.5, 0.5, 3.0]), 2, bins=[-2, -1, 0, 1, 2, 3])
    writer.add_histogram("many", np.random.default_rng(0).normal(size=3000), 2, bins="tensorflow")
    writer.add_image("picture", np.full((3, 4, 5), 0.5), 2)
    writer.add_hparams({{"lr": 0.25, "layers": 3, "name": "x", "amp": True}}, {{"hparam/accuracy": 0.75}})
    with SummaryWriter("logs/validation") as other:
        other.add_scalar("loss", 9.0, 4)
    with SummaryWriter("../elsewhere/test") as other:
        other.add_scalar("loss", 8.0, 4)
    assert run.step == 0
    run.log({{"own": 1}})
    run.finish()  # the writer is still open
    writer.add_scalar("train/loss", 1.0, 99)
"""


def points(run: disttrack.query.api.RunView, key: str) -> dict[int, Any]:
    history = run.history([key])
    return dict(zip(history["step"].tolist(), history[key].tolist(), strict=True))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.real(timeout_s=120)
def test_what_a_writer_writes_is_in_the_run(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library)
    directory = tmp_path / "job"
    directory.mkdir()
    site = Site(directory)
    printed = site.python(site.script(WRITE.format(library=library)))
    assert "was not kept" not in printed
    with disttrack.Api(tmp_path) as api:
        run = api.run("a")
        assert points(run, "train/loss") == {0: 0.0, 3: 1.5, 5: 7.0}
        assert points(run, "note") == {1: "as it is"}
        assert points(run, "validation/loss") == {4: 9.0}
        assert points(run, "test/loss") == {4: 8.0}
        assert points(run, "hparam/accuracy") == {0: 0.75}
        assert points(run, "own") == {0: 1}
        histogram = points(run, "weights")[2]
        assert histogram["_type"] == "histogram"
        assert (histogram["bins"][0], histogram["bins"][-1], sum(histogram["values"])) == (-2.0, 3.0, 4)
        assert sum(points(run, "many")[2]["values"]) == 3000
        assert run.config == {"lr": 0.25, "layers": 3, "name": "x", "amp": 1}
        (picture,) = run.media("picture")
        assert (picture.kind, picture.state, picture.step, picture.value["width"]) == ("image", "stored", 2, 5)
        kept = {row.path: row for row in run.files()}
        assert {Path(path).parts[0] for path in kept} == {"logs", "test"}
        assert len(kept) == 4  # the first writer's, that of its hparams, validation, test
        contents = {path: row.file.read_bytes() for path, row in kept.items() if row.file is not None}
        assert contents.keys() == kept.keys()
        assert all(contents.values())
        (first,) = (path for path in kept if len(Path(path).parts) == 2 and path.startswith("logs"))
        assert (directory / first).read_bytes().startswith(contents[first])
        assert b"train/loss" in contents[first]


@pytest.mark.real(timeout_s=150)
def test_all_ranks_are_recorded_and_what_returned_survives_sigkill(tmp_path: Path) -> None:
    site = Site(tmp_path)
    script = site.script(
        """
        import os, signal, disttrack
        import torch.distributed as dist
        from torch.utils.tensorboard import SummaryWriter
        early = SummaryWriter(f"logs/{os.environ['RANK']}")  # made before init: followed from there on
        run = disttrack.init(project="p", id="a", sync_tensorboard=True)
        dist.init_process_group("gloo")
        for step in range(50):
            early.add_scalar("loss", step + dist.get_rank() / 2, step)
        dist.barrier()  # torchrun ends the other rank when one is gone
        os.kill(os.getpid(), signal.SIGKILL)  # the file has nothing of it yet
        """
    )
    site.torchrun(2, script, code=1)
    site.cli("ls")
    with disttrack.Api(tmp_path) as api:
        history = api.run("a").history(["loss"], ranks="all")
    for rank in (0, 1):
        mine = history["rank"] == rank
        assert history["loss"][mine].tolist() == [step + rank / 2 for step in range(50)]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.real(timeout_s=120)
def test_writers_are_left_alone_where_nobody_asked(tmp_path: Path, library: str) -> None:
    pytest.importorskip(library)
    site = Site(tmp_path)
    site.python(
        site.script(
            f"""
            import disttrack
            run = disttrack.init(project="p", id="a")
            from {library} import SummaryWriter
            with SummaryWriter("logs") as writer:
                writer.add_scalar("loss", 1.0, 1)
            with disttrack.init(project="p", id="b", reinit=True, tensorboard=True):
                with SummaryWriter("logs") as writer:
                    writer.add_scalar("loss", 2.0, 1)
            with SummaryWriter("logs") as writer:
                writer.add_scalar("loss", 3.0, 1)
            """
        )
    )
    assert site.export("a") == []
    assert [row["value"] for row in site.export("b")] == [2.0]
