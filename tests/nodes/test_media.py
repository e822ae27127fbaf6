"""Images and files of two nodes in one run: stored by the writer, whichever node it is on."""

from __future__ import annotations

import json

import pytest

from tests.nodes.cluster import Cluster
from tests.nodes.job import wait_for_disttrack
from tests.nodes.torchrun import ended, torchrun

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
