"""Images and videos to log. The libraries they come from are met by duck typing; none is imported that is not there."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from disttrack.records.blobs import Note
from disttrack.records.media import AddBlob, Media
from disttrack.records.values import Unloggable, plain, text

__all__ = ["Image", "Video", "array_of", "check_file", "file_note", "is_figure"]

MAX_FORMAT = 16  # characters after the dot


class Image(Media):
    """An image: a numpy array or torch tensor, a PIL image, a matplotlib figure, or the path of a file.

    Pixels are (height, width), (height, width, channels), or as in torch (channels, height, width), with 1 to 4
    channels; they are copied now, and encoded later, by another process. Whole numbers and bools are clipped to
    0..255; floats within 0..1, or -1..1, are scaled to it (normalize=False: never). caption, boxes, masks are
    kept with it as they are. What cannot be used is said when it is logged, and costs only itself.
    """

    def __init__(
        self,
        data_or_path: Any,
        mode: str | None = None,
        caption: str | None = None,
        boxes: Mapping[str, Any] | None = None,
        masks: Mapping[str, Any] | None = None,
        *,
        normalize: bool = True,
    ) -> None:
        """mode: of a PIL image, what it is converted to first."""
        self.caption = caption
        self.boxes, self.masks = boxes, masks
        self.why: str | None = None  # it cannot be logged
        self._content: bytes | Path = b""
        self._note = Note(form="file", size=0)
        self._width = self._height = 0
        try:
            self._take(data_or_path, mode, normalize)
        except Unloggable as why:
            self.why = str(why)
        except Exception as error:  # of another library's value: a deleted tensor, a closed file
            self.why = f"reading it raised {type(error).__name__}: {error}"

    def _take(self, value: Any, mode: str | None, normalize: bool) -> None:
        if isinstance(value, Image):
            self._content, self._note = value._content, value._note
            self._width, self._height, self.why = value._width, value._height, value.why
            self.caption = self.caption if self.caption is not None else value.caption
        elif isinstance(value, str | os.PathLike):
            path = Path(cast("str | os.PathLike[str]", value))
            self._content, self._note = path.absolute(), file_note(path)
        elif is_figure(value):
            self._take_pixels(_drawn(value), normalize=False)
        elif hasattr(value, "convert") and hasattr(value, "tobytes"):  # PIL's, whose array would be a copy more
            self._take_picture(value, mode)
        else:
            self._take_pixels(array_of(value), normalize=normalize)

    def _take_picture(self, picture: Any, mode: str | None) -> None:
        if mode is not None or picture.mode not in ("L", "LA", "RGB", "RGBA"):
            has_alpha = "A" in picture.mode or "transparency" in picture.info
            picture = picture.convert(mode or ("RGBA" if has_alpha else "RGB"))
        self._width, self._height = picture.size
        shape = (self._height, self._width, len(picture.getbands()))
        self._content = picture.tobytes()
        self._note = Note(form="pixels", size=0, dtype="|u1", shape=shape)

    def _take_pixels(self, array: Any, *, normalize: bool) -> None:
        shape = tuple(int(extent) for extent in array.shape)
        if len(shape) == 4 and shape[0] == 1:
            shape = shape[1:]
        first = len(shape) == 3 and shape[0] in (1, 2, 3, 4) and shape[2] not in (1, 2, 3, 4)
        channels = 1 if len(shape) == 2 else shape[0 if first else -1] if len(shape) == 3 else 0
        if channels not in (1, 2, 3, 4) or 0 in shape:
            raise Unloggable(
                f"an image has the shape (height, width), (height, width, channels) or (channels, height, width) with "
                f"1 to 4 channels, not {shape}"
            )
        if array.dtype.kind not in "buif":
            raise Unloggable(f"pixels are numbers, not {array.dtype}")
        self._height, self._width = shape[first], shape[first + 1]
        self._content = array.tobytes()
        self._note = Note(
            form="pixels",
            size=0,
            dtype=array.dtype.str,
            shape=shape,
            channels_first=first,
            normalize=normalize,
        )

    def kept(self, add: AddBlob) -> dict[str, object]:
        """Return what a row tells of it, once its bytes were added."""
        if self.why is not None:
            raise Unloggable(self.why)
        said: dict[str, object] = {"_type": "image"}
        if isinstance(self._content, Path):
            check_file(self._content)
        said["blob"] = add(self._content, self._note)
        said["format"] = "png" if self._note.form == "pixels" else self._note.format
        if self._width:
            said |= {"width": self._width, "height": self._height}
        if self.caption is not None:
            said["caption"] = text(str(self.caption))
        said |= {name: plain(value) for name, value in (("boxes", self.boxes), ("masks", self.masks)) if value}
        return said


class Video(Media):
    """A video file, kept as it is: the path of an mp4, gif, webm, ..."""

    def __init__(self, data_or_path: Any, caption: str | None = None, fps: int | None = None) -> None:
        self.caption, self.fps = caption, fps
        self._kind = type(data_or_path).__name__
        self._path: Path | None = None
        if isinstance(data_or_path, str | os.PathLike):
            self._path = Path(cast("str | os.PathLike[str]", data_or_path)).absolute()

    def kept(self, add: AddBlob) -> dict[str, object]:
        """Return what a row tells of it, once its bytes were added."""
        path = self._path
        if path is None:
            raise Unloggable(f"a video is the path of a file, not a {self._kind}")
        check_file(path)
        note = file_note(path)
        said: dict[str, object] = {"_type": "video", "blob": add(path, note), "format": note.format}
        if self.caption is not None:
            said["caption"] = text(str(self.caption))
        if self.fps is not None:
            said["fps"] = self.fps
        return said


def check_file(path: Path) -> None:
    """Raise Unloggable where a path is no file that can be read."""
    if not path.is_file():
        raise Unloggable(f"there is no file {path}")
    if not os.access(path, os.R_OK):
        raise Unloggable(f"{path} may not be read")


def file_note(path: Path, within: str | None = None) -> Note:
    """Return the note for a file; within: where in the run it is kept under its name."""
    suffix = path.suffix[1:].lower()
    plain_suffix = suffix if suffix.isascii() and suffix.isalnum() and len(suffix) <= MAX_FORMAT else ""
    return Note(form="file", size=0, format=plain_suffix, path=within)


def array_of(value: Any) -> Any:
    """Return a value as a numpy array (or what behaves like one) in this process's memory."""
    if hasattr(value, "detach"):  # torch, off the graph and off its device
        value = value.detach().cpu()
        value = value.float() if "float" in str(value.dtype) and "64" not in str(value.dtype) else value
        return value.numpy()
    if hasattr(value, "__array__") or isinstance(value, list | tuple):
        import numpy as np

        return np.asarray(cast(Any, value))
    raise Unloggable(f"a {type(value).__module__}.{type(value).__qualname__} is no image, and no path of one")


def is_figure(value: Any) -> bool:
    """Say whether a value is a matplotlib figure, or its pyplot module."""
    return (
        type(value).__module__.startswith("matplotlib.figure") or getattr(value, "__name__", "") == "matplotlib.pyplot"
    )


def _drawn(figure: Any) -> Any:
    """Return the pixels of a matplotlib figure as it is now: (height, width, 4)."""
    import numpy as np

    if not hasattr(figure, "canvas"):
        figure = figure.gcf()
    before = figure.canvas
    canvas = before if hasattr(before, "buffer_rgba") else _agg(figure)
    try:
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())
    finally:
        figure.set_canvas(before)


def _agg(figure: Any) -> Any:
    return importlib.import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
