"""Images and files of two nodes in one run: stored by the writer, whichever node it is on."""

from __future__ import annotations

import json

import pytest

from tests.nodes.cluster import Cluster, Node
from tests.nodes.job import serving, wait_for_disttrack
from tests.nodes.torchrun import ended, torchrun
from tests.road.site import wait_until

#: 20 images and a file of 3 MB from each of four ranks; no two images are alike.
PAINT = """
import json, os
from pathlib import Path
import numpy as np
import disttrack

rank = int(os.environ["RANK"])
run = disttrack.init(project="demo")
for step in range(20):
    pixels = np.random.default_rng([rank, step]).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    run.log({"loss": float(step), "picture": disttrack.Image(pixels)}, step=step)
path = Path(f"/tmp/model-{rank}.bin")
path.write_bytes(bytes([rank]) * 3_000_000)
assert run.save(path, base_path="/tmp", policy="now") == [path.name]
receipt = run.finish()
Path(f"told-{rank}.json").write_text(json.dumps([receipt.stored, receipt.pending, receipt.pending_media]))
"""

READ = """
import json, sys
import numpy as np
from PIL import Image
import disttrack

with disttrack.Api() as api:
    [run] = api.runs("demo")
    wrong = [row for row in run.media() if row.state != "stored"]
    assert not wrong, wrong
    for row in run.media("picture"):
        pixels = np.random.default_rng([row.rank, row.step]).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        assert (np.asarray(Image.open(row.file)) == pixels).all()
    print(json.dumps([[row.rank, row.step] for row in run.media()]))
    print(json.dumps([[row.path, row.state, row.file.read_bytes()[0], row.size] for row in run.files()]))
"""


@pytest.mark.real(timeout_s=180)
def test_images_and_files_of_two_nodes_are_all_in_the_run(cluster: Cluster) -> None:
    script = cluster.shared / "paint.py"
    script.write_text(PAINT)
    ended(torchrun(cluster, "static", script), timeout_s=120)
    for node in cluster.nodes:
        wait_for_disttrack(node, processes=0, limit_s=60)
    for rank in range(4):
        assert json.loads((cluster.shared / f"told-{rank}.json").read_text()) == [41, 0, 0]
    reader = cluster.shared / "read.py"
    reader.write_text(READ)
    for node in cluster.nodes:
        pictures, files = map(json.loads, node.run(["python", reader]).splitlines())
        assert pictures == [[rank, step] for rank in range(4) for step in range(20)]
        assert files == [[f"model-{rank}.bin", "stored", rank, 3_000_000] for rank in range(4)]
        left = node.run(["bash", "-c", "find /tmp /var/tmp -path '*/blobs/*' | wc -l"])
        assert left.strip() == "0"
    assert "Nothing is damaged." in cluster[0].cli("fsck")


#: Images until the test says stop, from each of four ranks.
PAINT_ON = """
import json, os, time
from pathlib import Path
import numpy as np
import disttrack

rank = int(os.environ["RANK"])
run = disttrack.init(project="demo")
step = 0
while not Path("stop").exists():
    pixels = np.random.default_rng([rank, step]).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    run.log({"picture": disttrack.Image(pixels)}, step=step)
    step += 1
    Path(f"painted-{rank}").write_text(str(step))
    time.sleep(0.05)
receipt = run.finish()
Path(f"told-{rank}.json").write_text(json.dumps([receipt.logged, receipt.stored, receipt.pending_media]))
"""


def kill_process_of(node: Node) -> None:
    """Kill disttrack's process on a node, and wait for the next one."""
    former = serving(node)
    node.kill_process(former)
    serving(node, limit_s=30, instead_of=former)


@pytest.mark.real(timeout_s=180)
def test_killing_writer_and_agent_costs_no_image(cluster: Cluster) -> None:
    script = cluster.shared / "paint.py"
    script.write_text(PAINT_ON)
    processes = torchrun(cluster, "static", script)

    def painted() -> list[int]:
        files = [cluster.shared / f"painted-{rank}" for rank in range(4)]
        return [int(file.read_text() or 0) if file.exists() else 0 for file in files]

    def wait_for(images: int) -> None:
        wait_until(lambda: min(painted()) >= images, f"every rank has painted {images}", 60)

    wait_for(10)
    for node in (cluster[1], cluster[0], cluster[1]):
        kill_process_of(node)
        wait_for(min(painted()) + 10)
    (cluster.shared / "stop").touch()
    ended(processes, timeout_s=120)
    told = [json.loads((cluster.shared / f"told-{rank}.json").read_text()) for rank in range(4)]
    assert [one[1:] for one in told] == [[logged, 0] for logged, _, _ in told]
    reader = cluster.shared / "read.py"
    reader.write_text(READ)
    wait_for_disttrack(cluster[0], processes=0, limit_s=60)
    pictures, _ = map(json.loads, cluster[0].run(["python", reader]).splitlines())
    assert pictures == [[rank, step] for rank in range(4) for step in range(told[rank][0])]
    assert "Nothing is damaged." in cluster[0].cli("fsck")
