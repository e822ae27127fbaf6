"""init(sync_tensorboard=True): what a SummaryWriter of torch, tensorboard or tensorboardX writes is recorded too.

It is taken where a writer takes it, not from event files, which are behind by up to two minutes and end where a
process is killed: when `add_scalar` returns, the value is in this rank's journal (decision 28). The event files are
kept with the run when it is finished, below `files`.

A tag is a key and global_step is the step, whichever comes first; steps of writers leave `run.step` alone. What further
writers write has their directory before its key, as seen from the first one's, as in `val/loss`. Scalars, text,
histograms, images and animations become values, hparams config; the rest (audio, meshes, graphs, projections) is in
the event files.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import struct
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from disttrack.api.recorder import OtherStep
from disttrack.api.run import Run
from disttrack.api.tables import Histogram
from disttrack.integrations.imports import when_imported
from disttrack.records.blobs import Note
from disttrack.records.media import AddBlob, Media

__all__ = ["start"]

#: Modules with a class EventFileWriter (the first is torch.utils.tensorboard's too), and the module to read hparams by.
WRITERS = {
    "tensorboard.summary.writer.event_file_writer": "tensorboard.plugins.hparams.plugin_data_pb2",
    "tensorboardX.event_file_writer": "tensorboardX.proto.plugin_hparams_pb2",
}
HPARAMS = "_hparams_/"
MAX_BINS = 512
FORMATS = {b"\x89PNG": "png", b"GIF8": "gif", b"\xff\xd8\xff": "jpeg"}
NUMBERS = {1: ("float_val", "<f"), 2: ("double_val", "<d"), 3: ("int_val", "<i"), 9: ("int64_val", "<q")}  # by DataType

_log = logging.getLogger("disttrack")
_current: _Sync | None = None
_hooked: set[str] = set()


def start(run: Run, value: object = True) -> None:
    """Record what is written from now on into this run."""
    global _current
    _current = _Sync(run)
    run.at_finish(_current.finish)
    for module in WRITERS:
        if module not in _hooked:
            when_imported(module, functools.partial(_hook, module))


def _hook(module: str) -> None:
    if module in _hooked:
        return
    _hooked.add(module)
    writer: Any = sys.modules[module].EventFileWriter  # the class itself: SummaryWriters have it by name already
    writer.add_event = _followed(writer.add_event, WRITERS[module])


def _followed(add: Callable[[Any, Any], None], hparams: str) -> Callable[[Any, Any], None]:
    @functools.wraps(add)
    def add_event(self: Any, event: Any) -> None:
        add(self, event)
        if _current is not None:
            _current.take(self, event, hparams)

    return add_event


class _Sync:
    """What writers write into one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._root: Path | None = None
        self._prefixes: weakref.WeakKeyDictionary[Any, str] = weakref.WeakKeyDictionary()
        self._files: dict[str, None] = {}
        self._failed = False

    def take(self, writer: Any, event: Any, hparams: str) -> None:
        """Record one event; what cannot be read is said once."""
        if not self._run.is_ours():
            return
        try:
            prefix = self._prefix(writer)
            for value in event.summary.value:
                if value.tag.startswith(HPARAMS):
                    self._prefixes[writer] = prefix = ""  # add_hparams writes into a directory named by the clock
                    self._take_hparams(value, hparams)
                elif (found := _read(value)) is not None:
                    self._run.log({prefix + _key(value.tag): found}, step=OtherStep(event.step))
        except Exception as error:
            if not self._failed:
                self._failed = True
                _log.warning("disttrack: an event for TensorBoard was not kept: %s: %s", type(error).__name__, error)

    def _prefix(self, writer: Any) -> str:
        """Return what stands before the keys of a writer; note its file when it is first seen."""
        prefix = self._prefixes.get(writer)
        if prefix is None:
            path = _path(writer)
            directory = Path(os.path.abspath(writer.get_logdir()))
            self._root = self._root or directory
            if directory.is_relative_to(self._root):
                within = directory.relative_to(self._root).as_posix()
            else:
                within = directory.name
            prefix = self._prefixes[writer] = "" if within == "." else f"{within}/"
            if path is not None:
                self._files[path] = None
        return prefix

    def _take_hparams(self, value: Any, module: str) -> None:
        data: Any = importlib.import_module(module)
        found = data.HParamsPluginData.FromString(value.metadata.plugin_data.content)
        if found.HasField("session_start_info"):
            hparams = found.session_start_info.hparams
            kinds = ((key, hparam, hparam.WhichOneof("kind")) for key, hparam in hparams.items())
            values = {key: getattr(hparam, kind) for key, hparam, kind in kinds if kind not in (None, "null_value")}
            self._run.config.update({key: _plain(value) for key, value in values.items()}, allow_val_change=True)

    def finish(self) -> None:
        """Keep the event files, as whole as they are after a flush of their writers."""
        for writer in list(self._prefixes):
            writer.flush()
        for path in self._files:
            if os.path.isfile(path):
                below = Path(path).is_relative_to(Path.cwd())
                self._run.save(path, base_path=Path.cwd() if below else None, policy="now")


def _key(tag: str) -> str:
    """Return a tag as it was given: add_text appends something."""
    return tag.removesuffix("/text_summary")


def _path(writer: Any) -> str | None:
    """Return the path of a writer's file, None where it lies on no disk of this host."""
    within = getattr(writer, "_ev_writer", writer)  # of tensorboardX
    path = getattr(within, "_file_name", None)
    return None if path is None or "://" in path else os.path.abspath(path)


def _plain(value: Any) -> Any:
    """Return a number of hparams, which are floats all, as what was given most likely."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _read(value: Any) -> Any:
    """Return what a row keeps of a Summary.Value, None where it keeps nothing."""
    kind = value.WhichOneof("value")
    if kind == "simple_value":
        return value.simple_value
    if kind == "histo":
        return _histogram(value.histo)
    if kind == "image":
        return _Encoded(value.image)
    if kind == "tensor":
        return _of_tensor(value.tensor, value.metadata.plugin_data.plugin_name)
    return None


def _of_tensor(tensor: Any, plugin: str) -> Any:
    if plugin == "text":
        texts = [text.decode("utf-8", "replace") for text in tensor.string_val]
        return texts[0] if len(texts) == 1 else texts or None
    if plugin == "scalars" and tensor.dtype in NUMBERS:
        field, form = NUMBERS[tensor.dtype]
        numbers = getattr(tensor, field) or struct.unpack(form, tensor.tensor_content)
        return numbers[0]
    return None


def _histogram(histo: Any) -> Histogram:
    """Return a HistogramProto as a histogram: it names the right edge of each bin alone."""
    limits, counts = list(histo.bucket_limit), list(histo.bucket)
    while len(counts) > 1 and not counts[-1]:
        limits.pop()
        counts.pop()
    first = next((at for at, count in enumerate(counts) if count), 0)
    edges = [limits[first - 1] if first else min(histo.min, limits[0]), *limits[first:]]
    counts = counts[first:]
    edges[-1] = max(min(edges[-1], histo.max), edges[-2])  # the last bin of all ends at the greatest float
    while len(counts) > MAX_BINS:
        counts = [sum(counts[at : at + 2]) for at in range(0, len(counts), 2)]
        edges = [*edges[:-1:2], edges[-1]]
    return Histogram(np_histogram=(counts, edges))


class _Encoded(Media):
    """An image that is encoded already; one that moves is a video."""

    def __init__(self, image: Any) -> None:
        self._bytes: bytes = image.encoded_image_string
        self._width, self._height = int(image.width), int(image.height)

    def kept(self, add: AddBlob) -> dict[str, object]:
        """Return what a row tells of it, once its bytes were added."""
        suffix = next((name for start, name in FORMATS.items() if self._bytes.startswith(start)), "")
        blob = add(self._bytes, Note(form="file", size=len(self._bytes), format=suffix))
        kind = "video" if suffix == "gif" else "image"
        return {"_type": kind, "blob": blob, "format": suffix, "width": self._width, "height": self._height}
