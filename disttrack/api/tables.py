"""Tables and histograms to log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from disttrack.api.images import array_of
from disttrack.records.blobs import Note, TableData
from disttrack.records.codec import pack
from disttrack.records.media import AddBlob, Media
from disttrack.records.values import Unloggable, plain, text

__all__ = ["Histogram", "Table"]

BINS, MAX_BINS = 64, 512


class Table(Media):
    """A table: names of columns and rows of values, or a DataFrame. A cell may be an Image.

    A row of another length than the columns is left out, and that is said when the table is logged.
    """

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        data: Any = None,
        rows: Any = None,
        dataframe: Any = None,
        *,
        allow_mixed_types: bool = True,
    ) -> None:
        """data (or rows): a sequence of rows. dataframe: pandas or polars; in the place of both.

        allow_mixed_types: changes nothing, a column may hold values of any type.
        """
        self.columns: list[str] = []
        self.data: list[list[Any]] = []
        self._left_out = 0
        self.why: str | None = None
        if dataframe is None and _is_frame(data):
            dataframe, data = data, None
        try:
            if dataframe is not None:
                self._take_frame(dataframe)
            else:
                given = list(data if data is not None else rows if rows is not None else [])
                if columns is None:
                    columns = [str(index) for index in range(len(given[0]))] if given else ["Input"]
                self.columns = [text(str(name)) for name in columns]
                for row in given:
                    self.add_data(*row)
        except Exception as error:
            self.why = f"it makes no table ({type(error).__name__}: {error})"

    def _take_frame(self, frame: Any) -> None:
        self.columns = [text(str(name)) for name in frame.columns]
        if hasattr(frame, "itertuples"):
            self.data = [list(row) for row in frame.itertuples(index=False, name=None)]
        else:
            self.data = [list(row) for row in frame.rows()]

    def add_data(self, *row: Any) -> None:
        """Add a row: a value for each column."""
        if len(row) == len(self.columns):
            self.data.append(list(row))
        else:
            self._left_out += 1

    def add_column(self, name: str, data: Sequence[Any]) -> None:
        """Add a column: a value for each row."""
        if self.data and len(data) != len(self.data):
            self.why = f"the column {name!r} has {len(data)} values for {len(self.data)} rows"
            return
        self.columns.append(text(str(name)))
        self.data = [[*row, value] for row, value in zip(self.data, data, strict=True)] or [[value] for value in data]

    def kept(self, add: AddBlob) -> dict[str, object]:
        """Return what a row tells of it, once its bytes, and those of the images in it, were added."""
        if self.why is not None:
            raise Unloggable(self.why)
        rows = [[value.kept(add) if isinstance(value, Media) else _cell(value) for value in row] for row in self.data]
        content = pack(TableData(tuple(self.columns), rows))
        blob = add(content, Note(form="table", size=len(content), format="json"))
        said: dict[str, object] = {
            "_type": "table",
            "blob": blob,
            "format": "json",
            "ncols": len(self.columns),
            "nrows": len(rows),
        }
        if self._left_out:
            said["left_out"] = self._left_out
        return said


class Histogram(Media):
    """How often values lie between edges; kept in the row itself.

    sequence: numbers, of any shape; those that are not finite are left out. np_histogram: counts and edges,
    as numpy.histogram returns them. num_bins: at most 512.
    """

    def __init__(self, sequence: Any = None, np_histogram: Any = None, num_bins: int = BINS) -> None:
        self.why: str | None = None
        self.bins: list[float] = []
        self.histogram: list[float] = []
        try:
            if np_histogram is not None:
                counts, edges = np_histogram
            else:
                counts, edges = _counted(sequence, num_bins)
            self.histogram = [float(count) if float(count) % 1 else int(count) for count in counts]
            self.bins = [float(edge) for edge in edges]
            if len(self.bins) != len(self.histogram) + 1:
                raise Unloggable(f"{len(self.histogram)} counts have {len(self.bins)} edges, not one more")
            if len(self.histogram) > MAX_BINS:
                raise Unloggable(f"it has {len(self.histogram)} bins, more than {MAX_BINS}")
        except Unloggable as why:
            self.why = str(why)
        except Exception as error:
            self.why = f"it makes no histogram ({type(error).__name__}: {error})"

    def kept(self, add: AddBlob) -> dict[str, object]:
        """Return what a row tells of it: all of it."""
        if self.why is not None:
            raise Unloggable(self.why)
        return {"_type": "histogram", "bins": self.bins, "values": self.histogram}


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and (hasattr(value, "itertuples") or hasattr(value, "rows"))


def _cell(value: Any) -> object:
    """Return a value as a cell holds it; one without a plain form as its repr, so that no row is lost for it."""
    try:
        return plain(value)
    except Unloggable:
        try:
            return text(repr(value)[:1000])
        except Exception:
            return f"<{type(value).__name__}>"


def _counted(sequence: Any, num_bins: int) -> tuple[Any, Any]:
    import numpy as np

    bins = max(1, min(int(num_bins), MAX_BINS))
    values = array_of(sequence).ravel()
    values = values.astype(np.float64) if values.dtype.kind in "buif" else None
    if values is None:
        raise Unloggable("a histogram is of numbers")
    values = values[np.isfinite(values)]
    if not len(values):
        raise Unloggable("a histogram needs at least one finite number")
    return np.histogram(values, bins=bins)
