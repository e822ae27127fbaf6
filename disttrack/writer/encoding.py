"""What a blob becomes before it is stored: pixels a PNG, a table JSON, a file what it is."""

from __future__ import annotations

import hashlib
import io
import json
import math
from pathlib import Path
from typing import Any, NamedTuple, cast

from disttrack.environments.files import open_plain, read_plain
from disttrack.journal.spool import Spooled
from disttrack.records.blobs import Note, TableData
from disttrack.records.codec import decode

__all__ = ["Content", "Unreadable", "content_of", "read_piece"]

CHUNK_BYTES = 1 << 20
MAX_BYTES = 4 << 30  # of pixels or of a table in memory
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


class Unreadable(Exception):
    """These bytes are not what their note says, and trying again does not help; the reason is the first argument."""


class Content(NamedTuple):
    """What is to be stored: bytes, or a file that holds them."""

    data: bytes | Path
    sha256: str
    size: int
    format: str


def content_of(blob: Spooled) -> Content:
    """Return what is to be stored of a blob; raise Unreadable, or OSError where the disk cannot be read now."""
    note = blob.note
    if note.size < 0:
        raise Unreadable("what is known of it was lost with the power of its node")
    if note.form == "file":
        return _file(blob)
    try:
        raw = read_plain(blob.path, min(note.size, MAX_BYTES))
    except FileNotFoundError:
        raise Unreadable("its bytes were removed from the node's disk") from None
    if len(raw) != note.size:
        raise Unreadable(f"{len(raw):,} of {note.size:,} bytes are left: its node lost power")
    try:
        data, suffix = (_png(raw, note), "png") if note.form == "pixels" else (_json(raw), "json")
    except Exception as error:  # Pillow has no base class for what it cannot do
        raise Unreadable(f"it cannot be encoded ({type(error).__name__}: {error})"[:500]) from error
    return Content(data, hashlib.sha256(data).hexdigest(), len(data), suffix)


def _file(blob: Spooled) -> Content:
    digest, size = hashlib.sha256(), 0
    try:
        file = open_plain(blob.path)
    except FileNotFoundError:
        raise Unreadable("its bytes were removed from the node's disk") from None
    with open(file, "rb") as opened:
        while data := opened.read(CHUNK_BYTES):
            digest.update(data)
            size += len(data)
    return Content(blob.path, digest.hexdigest(), size, blob.note.format)


def read_piece(content: Content, offset: int, size: int) -> bytes:
    """Return so many bytes of it from offset on; less at its end."""
    if isinstance(content.data, bytes):
        return content.data[offset : offset + size]
    with open(open_plain(content.data), "rb") as file:
        file.seek(offset)
        return file.read(size)


def _png(raw: bytes, note: Note) -> bytes:
    import numpy as np
    from PIL import Image

    pixels = np.frombuffer(raw, np.dtype(note.dtype)).reshape(note.shape)
    if note.channels_first:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    levels = _levels(pixels, normalize=note.normalize)
    mode = MODES[levels.shape[2] if levels.ndim == 3 else 1]
    picture = Image.frombytes(mode, (levels.shape[1], levels.shape[0]), levels.tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)  # a tenth larger than 6, in a third of the time
    return file.getvalue()


def _levels(pixels: Any, *, normalize: bool) -> Any:  # noqa: ANN401 - numpy arrays of any type
    """Return pixels as 0..255 of one byte each."""
    import numpy as np

    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f":
        values = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=255.0, neginf=0.0)
        if normalize and values.size and values.min() >= -1.0 and values.max() <= 1.0:
            values = (values + 1.0) * 127.5 if values.min() < 0.0 else values * 255.0
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _json(raw: bytes) -> bytes:
    table = decode(raw, TableData)
    rows = [[_json_value(value) for value in row] for row in table.rows]
    return json.dumps({"columns": table.columns, "data": rows}, allow_nan=False, ensure_ascii=False).encode()


def _json_value(value: object) -> object:
    """Return a value as JSON has it: there are no infinite numbers in it, and none that are not."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"_type": "number", "value": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, list):
        return [_json_value(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in cast("dict[str, object]", value).items()}
    return value
