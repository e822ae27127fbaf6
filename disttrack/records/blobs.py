"""Bytes beside the records: how a blob is to be read in its spool, and what became of it in its run."""

from __future__ import annotations

from typing import Literal

import msgspec

from disttrack.records.structs import prepare
from disttrack.records.types import Incarnation

__all__ = ["Blob", "BlobForm", "Note", "TableData"]

BlobForm = Literal["file", "pixels", "table"]


class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the bytes of a blob are to be read: a file as it is, the pixels of an image, or a TableData.

    size: of the bytes. format: what the stored file is called after its dot ("" of a file without one).
    Of pixels: dtype is numpy's `dtype.str`, shape (height, width) or (height, width, channels); channels_first where
    it is (channels, height, width); normalize: floats within 0..1, or -1..1, stand for 0..255.
    path: of a file that the run keeps, within it.
    """

    form: BlobForm
    size: int
    format: str = ""
    dtype: str = ""
    shape: tuple[int, ...] = ()
    channels_first: bool = False
    normalize: bool = True
    path: str | None = None


class TableData(msgspec.Struct, frozen=True):
    """A table: the names of its columns, and plain values row by row."""

    columns: tuple[str, ...]
    rows: list[list[object]]


class Blob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The writer's word on blob number `blob` of an incarnation: its bytes are the run's `media/<sha256>.<format>`.

    path: where the run keeps them too, as a file, below `files`. lost: why there are no such bytes, and never will be.
    """

    incarnation: Incarnation
    blob: int
    sha256: str = ""
    size: int = 0
    format: str = ""
    path: str | None = None
    lost: str | None = None

    @property
    def name(self) -> str:
        """The name of the stored file in `media`."""
        return f"{self.sha256}.{self.format}" if self.format else self.sha256


prepare(globals())
