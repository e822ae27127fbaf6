"""Which values of a row have bytes beside it, or are too long for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from disttrack.api.images import Image, is_figure
from disttrack.api.tables import Histogram
from disttrack.records.media import Media

__all__ = ["media_of"]

LIST_ITEMS = 512  # of an array; a larger one becomes a histogram


def media_of(value: Any) -> Any:
    """Return what is to be kept beside a row for a value: a Media, or a list of them; None for all others."""
    if isinstance(value, Media):
        return value
    if isinstance(value, list | tuple):
        items = cast("Sequence[Any]", value)
        if not items or not any(isinstance(item, Media) for item in items[:1]):
            return None
        return [item if isinstance(item, Media) else Image(item) for item in items]
    if is_figure(value) or (type(value).__module__.startswith("PIL.") and hasattr(value, "convert")):
        return Image(value)
    if hasattr(value, "tolist") and getattr(value, "shape", None) and math.prod(value.shape) > LIST_ITEMS:
        histogram = Histogram(value)
        return histogram if histogram.why is None else None  # of other things than numbers: as any value
    return None
