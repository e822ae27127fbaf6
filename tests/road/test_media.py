"""Images, tables and files from the script to the reader, and what they cost the script."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import disttrack
from disttrack.query.media import MediaRow
from tests.road.site import Site, wait_until


def media(site: Site, key: str) -> list[MediaRow]:
    with disttrack.Api(site.directory) as api:
        return api.run("a").media(key)


def test_what_is_logged_as_an_image_is_the_image_that_is_read(site: Site) -> None:
    script = site.script(
        """
        import sys
        import numpy as np
        import disttrack

        run = disttrack.init(project="p", id="a")
        grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
        run.log({"loss": 1.0, "grey": disttrack.Image(grey, caption="a ramp", boxes={"b": {"box_data": [1]}})}, step=3)
        pixels = np.zeros((4, 6, 3))
        pixels[1, 2] = 1.0
        image = disttrack.Image(pixels)
        pixels[:] = 0.5  # later: the value at the call counts
        run.log({"float": image}, step=4)
        run.log({"nested": {"list": [disttrack.Image(grey), disttrack.Image(grey.T)]}}, step=5)
        run.log({"path": disttrack.Image("there.png"), "odd": disttrack.Image("nowhere.png"), "b": 2.0}, step=6)
        assert "PIL" not in sys.modules
        """
    )
    Image.new("RGB", (3, 2), (1, 2, 3)).save(site.directory / "there.png")
    output = site.python(script)
    assert "log() left out 'odd': there is no file" in output
    [grey] = media(site, "grey")
    assert (grey.step, grey.rank, grey.kind, grey.state) == (3, 0, "image", "stored")
    assert {key: grey.value[key] for key in ("width", "height", "format", "caption")} == {
        "width": 6,
        "height": 4,
        "format": "png",
        "caption": "a ramp",
    }
    assert grey.value["boxes"] == {"b": {"box_data": [1]}}
    assert grey.file is not None
    assert grey.path == f"media/{grey.file.name}"
    with Image.open(grey.file) as stored:
        assert (np.asarray(stored) == np.arange(24).reshape(4, 6)).all()
    [pixels] = media(site, "float")
    assert pixels.file is not None
    with Image.open(pixels.file) as stored:
        assert stored.getpixel((2, 1)) == (255, 255, 255)
        assert stored.getpixel((0, 0)) == (0, 0, 0)
    first, second = media(site, "nested.list")
    assert (first.value["width"], second.value["width"]) == (6, 4)
    assert first.path == grey.path  # stored once by its hash
    [path] = media(site, "path")
    assert path.file is not None
    assert path.file.read_bytes() == (site.directory / "there.png").read_bytes()
    rows = {(row["step"], row["key"]): row["value"] for row in site.export("a")}
    assert (rows[3, "loss"], rows[6, "b"]) == (1.0, 2.0)
    assert rows[3, "grey"]["_type"] == "image"
    assert site.only_run()["receipt"]["stored"] == 6  # two rows each at steps 3 and 6: scalars and media


def test_a_torch_tensor_and_a_pil_image_are_images(site: Site) -> None:
    script = site.script(
        """
        import torch
        from PIL import Image
        import disttrack

        run = disttrack.init(project="p", id="a")
        run.log({"chw": disttrack.Image(torch.full((3, 4, 5), 0.2, requires_grad=True))})
        run.log({"pil": Image.new("P", (5, 4))})
        run.log({"wrong": disttrack.Image(torch.zeros(7, 9, 11)), "loss": 1.0})
        """
    )
    assert "left out 'wrong'" in site.python(script)
    for key, colour in (("chw", (51, 51, 51)), ("pil", (0, 0, 0))):
        [row] = media(site, key)
        assert row.file is not None
        with Image.open(row.file) as stored:
            assert (stored.size, stored.getpixel((0, 0))) == ((5, 4), colour)


def test_a_figure_is_an_image_as_it_was_when_it_was_logged(site: Site) -> None:
    pytest.importorskip("matplotlib")
    script = site.script(
        """
        import matplotlib
        matplotlib.use("pdf")  # one without pixels of its own
        import matplotlib.pyplot as plt
        import disttrack

        figure, axes = plt.subplots(figsize=(2, 1), dpi=50)
        run = disttrack.init(project="p", id="a")
        run.log({"figure": figure, "pyplot": disttrack.Image(plt)})
        assert type(figure.canvas).__name__ == "FigureCanvasPdf"
        figure.set_facecolor("red")
        run.log({"figure": figure})
        """
    )
    site.python(script)
    first, second = media(site, "figure")
    assert (first.value["width"], first.value["height"]) == (100, 50)
    assert first.path == media(site, "pyplot")[0].path != second.path


def test_a_table_comes_back_as_the_frame_it_was(site: Site) -> None:
    script = site.script(
        """
        import numpy as np
        import disttrack

        run = disttrack.init(project="p", id="a")
        table = disttrack.Table(columns=["step", "loss", "text"], data=[[1, float("nan"), "é"], [2, 0.5, None]])
        table.add_data(3, float("-inf"))  # too short: it alone is left out
        run.log({"table": table, "loss": 1.0})
        run.log({"seen": disttrack.Table(columns=["image"], data=[[disttrack.Image(np.zeros((2, 2)))]])})
        import pandas
        run.log({"frame": disttrack.Table(dataframe=pandas.DataFrame({"a": [1, 2], "b": [0.5, float("inf")]}))})
        """
    )
    site.python(script)
    [row] = media(site, "table")
    frame = row.table()
    assert list(frame.columns) == ["step", "loss", "text"]
    assert frame["step"].tolist() == [1, 2]
    assert np.isnan(frame["loss"][0])
    assert frame["text"].tolist()[0] == "é"
    assert row.value["left_out"] == 1
    columns = media(site, "frame")[0].table("numpy")
    assert columns["b"].tolist() == [0.5, float("inf")]
    assert columns["a"].dtype == np.int64
    [seen] = media(site, "seen")
    assert seen.file is not None
    assert json.loads(seen.file.read_bytes())["data"][0][0]["_type"] == "image"
    with pytest.raises(disttrack.errors.UsageError, match="its kind is image"):
        MediaRow("k", 0, 0, 1, "image", "stored", None, None, None, {}).table()


def test_a_histogram_lies_in_the_row_and_a_long_array_becomes_one(site: Site) -> None:
    script = site.script(
        """
        import numpy as np
        import disttrack

        run = disttrack.init(project="p", id="a")
        run.log({"h": disttrack.Histogram([1, 2, 2, float("nan")], num_bins=2), "short": np.arange(3)})
        run.log({"long": np.arange(1000.0)})
        """
    )
    site.python(script)
    rows = {row["key"]: row["value"] for row in site.export("a")}
    assert rows["h"] == {"_type": "histogram", "bins": [1.0, 1.5, 2.0], "values": [1, 2]}
    assert rows["short"] == [0, 1, 2]
    assert (rows["long"]["_type"], sum(rows["long"]["values"])) == ("histogram", 1000)


def test_a_pattern_that_matches_a_file_by_several_ways_keeps_it_once(site: Site) -> None:
    (site.directory / "out" / "deep" / "deeper").mkdir(parents=True)
    (site.directory / "out" / "deep" / "deeper" / "a.txt").write_text("a")
    site.python(
        site.script(
            """
            import disttrack
            with disttrack.init(project="p") as run:
                assert run.save("out/**", policy="now") == ["out/deep/deeper/a.txt"]
            """
        )
    )


def test_files_are_kept_now_at_the_end_and_when_they_change(site: Site) -> None:
    (site.directory / "out" / "deep").mkdir(parents=True)
    for name in ("a.txt", "deep/b.txt", "c.log"):
        (site.directory / "out" / name).write_text(f"first {name}")
    script = site.script(
        """
        import pathlib
        import disttrack

        run = disttrack.init(project="p", id="a")
        assert run.save("out/*.txt", policy="now") == ["out/a.txt"]
        assert run.save("out/deep/b.txt", base_path="out", policy="end") == ["deep/b.txt"]
        assert run.save(str(pathlib.Path("out/c.log").absolute())) == ["out/c.log"]  # live; with one directory above it
        assert run.save("nothing*") == run.save("s3://bucket/x") == run.save() == []
        for wrong in ({"policy": "never"}, {"base_path": "out/deep"}):
            try:
                run.save("out/a.txt", **wrong)
            except ValueError:
                pass
            else:
                raise AssertionError
        for name in ("a.txt", "deep/b.txt", "c.log"):
            pathlib.Path("out", name).write_text(f"second {name}")
        assert run.log_code() == ["code/train.py"]
        assert run.log_code("out") is None
        receipt = run.finish()
        assert (receipt.pending, receipt.pending_media) == (0, 0), receipt
        """
    )
    site.python(script)
    files = site.root / "p" / "a" / "files"
    texts = {path.relative_to(files).as_posix(): path.read_text() for path in files.rglob("*") if path.is_file()}
    assert texts.pop("code/train.py") == script.read_text()
    assert texts == {"out/a.txt": "first a.txt", "deep/b.txt": "second deep/b.txt", "out/c.log": "second c.log"}
    with disttrack.Api(site.directory) as api:
        rows = api.run("a").files()
    assert [(row.path, row.state, row.size) for row in rows] == [
        ("code/train.py", "stored", len(script.read_text())),
        ("deep/b.txt", "stored", len("second deep/b.txt")),
        ("out/a.txt", "stored", len("first a.txt")),
        ("out/c.log", "stored", len("second c.log")),
    ]
    assert all(row.file == files / row.path for row in rows)
    shown = site.show("a")
    assert shown["files"] == [{"path": row.path, "size": row.size} for row in rows]


def test_fsck_names_a_stored_file_that_is_gone_or_another(site: Site) -> None:
    script = site.script(
        """
        import numpy as np
        import disttrack

        run = disttrack.init(project="p", id="a")
        for step in range(2):
            run.log({"image": disttrack.Image(np.full((3, 3), step, np.uint8))})
        """
    )
    site.python(script)
    assert "Nothing is damaged." in site.cli("fsck")
    first, second = media(site, "image")
    assert first.file is not None
    assert second.file is not None
    first.file.unlink()
    second.file.write_bytes(second.file.read_bytes()[:-1] + b"?")
    told = json.loads(site.cli("fsck", "--json", code=1))
    assert {Path(place["path"]).name: place["why"].partition(":")[0] for place in told["runs"][0]["damage"]} == {
        first.file.name: "a stored file cannot be read",
        second.file.name: "the file does not hold what was stored",
    }


IMAGES = """
import os
import numpy as np
import disttrack

run = disttrack.init(project="p", id="a")
run.log({"loss": 0.0, "rank": 0.0})
run.id
pixels = np.zeros((16, 16, 3), np.uint8)
for step in range(1_000):
    pixels[0, 0] = step % 251, step // 251, 0
    run.log({"image": disttrack.Image(pixels)}, step=step)
    os.path.exists("/begin")  # marks to find in a trace
    run.log({"loss": 1.0, "rank": 0.0}, step=step)
    run.log({"loss": 0.5, "rank": 0.0}, step=step)
    os.path.exists("/end")
print(run.finish())
"""


@pytest.mark.real(timeout_s=180)
def test_a_thousand_images_change_nothing_of_what_a_row_of_numbers_costs(
    site: Site, require_program: Callable[[str], str]
) -> None:
    trace = site.directory / "trace"
    # Only this thread: what others do about the images is not in its way.
    output = site.run(require_program("strace"), "-o", trace, sys.executable, site.script(IMAGES), limit_s=150)
    assert "3,001 stored, 0 pending, 0 dropped" in output
    calls: Counter[str] = Counter()
    between = False
    for line in trace.read_text().splitlines():
        if '"/begin"' in line or '"/end"' in line:
            between = '"/begin"' in line
        elif between and (match := re.match(r"\w+", line)):
            calls[match[0]] += 1
    assert calls.pop("pwrite64") == 2_000
    assert set(calls) <= {"brk", "mmap", "munmap", "futex"}  # Python's own
    rows = media(site, "image")
    assert {row.state for row in rows} == {"stored"}
    assert [row.step for row in rows] == list(range(1_000))
    wait_until(lambda: not list((site.directory / "journals").rglob("blobs/*")), "the spool is empty")
