"""Every row of docs/coming-from-wandb.md that is about media and files: it is as the page says."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import disttrack
from tests.road.test_coming_from_wandb import VERDICTS, Row, row, rows_of

MEDIA: dict[str, Callable[[disttrack.Run, list[str]], Row]] = {}
PIXELS = np.zeros((3, 5), np.uint8)


@row("`Image(...)`", MEDIA)
def images(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"image": disttrack.Image(PIXELS), "no image": disttrack.Image(object()), "beside": 1.0})
    assert any("'no image'" in line for line in said)
    view = yield
    [found] = view.media("image")
    assert (found.state, found.value["width"], found.value["height"]) == ("stored", 5, 3)
    assert view.summary["beside"] == 1.0


@row("caption, boxes, masks", MEDIA)
def captions(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"told": disttrack.Image(PIXELS, caption="c", boxes={"a": {"b": [1]}}, masks={"m": {"n": 2}})})
    view = yield
    told = view.media("told")[0].value
    assert (told["caption"], told["boxes"], told["masks"]) == ("c", {"a": {"b": [1]}}, {"m": {"n": 2}})


@row("a list of images", MEDIA)
def lists(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"list": [disttrack.Image(PIXELS), disttrack.Image(PIXELS + 1)]})
    view = yield
    assert len({one.path for one in view.media("list")}) == 2


@row("`Table(columns, data, dataframe)`", MEDIA)
def tables(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"table": disttrack.Table(["a", "b"], [[1, float("inf")], ["text", 2.0], [3]])})
    view = yield
    [found] = view.media("table")
    assert found.value["left_out"] == 1
    assert found.table()["a"].tolist() == [1, "text"]
    assert found.table()["b"].tolist() == [float("inf"), 2.0]


@row("`Histogram`", MEDIA)
def histograms(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"histogram": disttrack.Histogram([1, 2, 3], num_bins=2)})
    run.log({"bins": disttrack.Histogram(np_histogram=([1] * 600, range(601))), "by it": 1})
    assert any("'bins'" in line for line in said)
    view = yield
    assert view.history(["histogram"])["histogram"][0]["values"] == [1, 2]
    assert view.summary["by it"] == 1


@row("arrays", MEDIA)
def arrays(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"short": np.arange(512), "long": np.arange(513)})
    view = yield
    assert view.summary["short"] == list(range(512))
    long: Any = view.summary["long"]
    assert (long["_type"], len(long["values"])) == ("histogram", 64)


@row("`Video`", MEDIA)
def videos(run: disttrack.Run, said: list[str]) -> Row:
    Path("a.mp4").write_bytes(b"film")
    run.log({"video": disttrack.Video("a.mp4"), "frames": disttrack.Video(np.zeros((2, 3, 4, 4)))})
    assert any("'frames'" in line for line in said)
    view = yield
    [found] = view.media("video")
    assert found.file is not None
    assert (found.file.suffix, found.file.read_bytes()) == (".mp4", b"film")


@row("names of files", MEDIA)
def names(run: disttrack.Run, said: list[str]) -> Row:
    run.log({"one": disttrack.Image(PIXELS), "other": disttrack.Image(PIXELS)})
    view = yield
    assert view.media("one")[0].path == view.media("other")[0].path


@row("a killed script", MEDIA)
def killed(run: disttrack.Run, said: list[str]) -> Row:
    yield  # tests/faults/test_p01_media.py


@row("`save(glob, base_path, policy)`", MEDIA)
def saved(run: disttrack.Run, said: list[str]) -> Row:
    Path("deep/er").mkdir(parents=True)
    Path("deep/er/x.txt").write_text("first")
    assert run.save("deep/*/x.txt") == ["deep/er/x.txt"]
    assert run.save(os.path.abspath("deep/er/x.txt"), policy="now") == ["er/x.txt"]
    assert run.save("deep/er/x.txt", base_path="deep/er", policy="end") == ["x.txt"]
    for wrong in ({"policy": "often"}, {"base_path": "deep/other"}):
        with pytest.raises(ValueError, match=r"save|policy"):
            run.save("deep/er/x.txt", **wrong)
    Path("deep/er/x.txt").write_text("second")
    view = yield
    texts = {found.path: found.file.read_text() for found in view.files() if found.file is not None}
    assert (texts["deep/er/x.txt"], texts["er/x.txt"], texts["x.txt"]) == ("second", "first", "second")


@row("`save` without a match, of gs:// or s3://", MEDIA)
def saved_nothing(run: disttrack.Run, said: list[str]) -> Row:
    assert run.save("no such*") == run.save("gs://a/b") == run.save("s3://a/b") == run.save() == []
    yield


@row("`log_code`", MEDIA)
def code(run: disttrack.Run, said: list[str]) -> Row:
    Path("lib").mkdir()
    Path("lib/module.py").write_text("code")
    Path("lib/data.bin").write_text("data")
    assert run.log_code("lib") == ["code/module.py"]

    def is_data(path: str) -> bool:
        return path.endswith(".bin")

    def is_below(path: str, root: str) -> bool:
        return path.startswith(root)

    assert run.log_code("lib", include_fn=is_data) == ["code/data.bin"]
    assert run.log_code("lib", exclude_fn=is_below) is None
    view = yield
    assert {"code/module.py", "code/data.bin"} <= {found.path for found in view.files()}


def test_every_row_about_media_has_its_check_and_a_verdict() -> None:
    rows = rows_of("Media and files")
    assert list(rows) == list(MEDIA)
    assert set(rows.values()) <= VERDICTS


@pytest.mark.real(timeout_s=90)
def test_every_row_about_media_is_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = disttrack.init(project="p", id="mine")
    said: list[str] = []
    listener = _Said(said)
    logging.getLogger("disttrack").addHandler(listener)
    checks: dict[str, Any] = {}
    for item, check in MEDIA.items():
        checks[item] = check(run, said)
        next(checks[item])
    logging.getLogger("disttrack").removeHandler(listener)
    run.finish()
    with disttrack.Api() as api:
        for item, check in checks.items():
            with pytest.raises(StopIteration):  # whatever is not as it should be is another error
                check.send(api.run("mine"))
            assert item


class _Said(logging.Handler):
    """Notes what is said."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())
