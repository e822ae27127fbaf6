"""Numbers out of torch's tensors, without waiting for the device that they are on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch

from disttrack.records.media import AddBlob, Media

__all__ = ["TensorHistogram", "dense", "total_norm"]

BINS = 64
CHUNK = 1 << 22  # values whose bins are found at a time: what that takes beside the model is bounded


def dense(tensor: torch.Tensor | None) -> torch.Tensor | None:
    """Return the values of a tensor, flat and real; of a sparse one those it stores, of a sharded one this rank's.

    None where there are none to be had: no gradient, an empty tensor, one without storage.
    """
    if tensor is None or tensor.is_meta:
        return None
    values: Any = tensor.detach()  # of whatever class: torch has not types for all of it
    if hasattr(values, "to_local"):
        values = values.to_local()
    if values.layout == torch.sparse_coo:
        values = values.coalesce().values()
    elif values.layout != torch.strided:
        values = values.values()
    if values.is_complex():
        values = torch.view_as_real(values)
    return values.reshape(-1) if values.numel() else None


def total_norm(tensors: Iterable[torch.Tensor | None]) -> Any:
    """Return the 2-norm of all these values together, as a scalar on the device of the first; None where none is."""
    found = [values for values in map(dense, tensors) if values is not None]
    if not found:
        return None
    linalg: Any = torch.linalg
    norms = [linalg.vector_norm(values, dtype=torch.float32) for values in found]
    return linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))


class TensorHistogram(Media):
    """A histogram that is counted on the tensor's device now, and read from there when its row is logged."""

    def __init__(self, values: torch.Tensor, scale: torch.Tensor | None = None) -> None:
        """values: flat. scale: what they were multiplied by (AMP)."""
        with torch.no_grad():
            kind = torch.float32 if values.device.type == "mps" else torch.float64  # which has no float64
            parts: Sequence[torch.Tensor] = torch.split(values, CHUNK)
            ends = [_ends(part.to(kind)) for part in parts]
            low = torch.stack([least for least, _ in ends]).min()
            high = torch.stack([most for _, most in ends]).max()
            counts = torch.zeros(BINS + 1, dtype=torch.int64, device=values.device)
            for part in parts:
                places = _places(part.to(kind), low, high)
                counts.scatter_add_(0, places, torch.ones_like(places))
            ends_of_all = torch.stack([low, high])
            if scale is not None:
                ends_of_all = ends_of_all / scale.to(ends_of_all.device, kind)
            self._counts, self._ends = counts, ends_of_all

    def kept(self, add: AddBlob) -> dict[str, object]:
        """Return what a row tells of it: edges, counts, and how many values were NaN or infinite."""
        counts: list[int]
        held, ends = cast(Any, self._counts), cast(Any, self._ends)
        *counts, odd = held.tolist()
        low, high = ends.tolist()
        said: dict[str, object] = {"_type": "histogram"}
        if not sum(counts):
            said |= {"bins": [0.0], "values": []}
        elif low == high:  # as numpy does
            said |= {"bins": [low - 0.5, low + 0.5], "values": [counts[0]]}
        else:
            width = high / BINS - low / BINS
            edges = itertools.chain((low + width * at for at in range(BINS)), [high])
            said |= {"bins": list(edges), "values": counts}
        if odd:
            said["nonfinite"] = odd
        return said


def _ends(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    finite = torch.isfinite(values)
    return (
        torch.where(finite, values, torch.inf).min(),
        torch.where(finite, values, -torch.inf).max(),
    )


def _places(values: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Return the bin of each value; the one behind the last is for NaN and infinities."""
    width = high / BINS - low / BINS
    width = torch.where(width > 0, width, 1.0)
    places = ((values / width) - (low / width)).clamp(0, BINS - 1)
    return torch.where(torch.isfinite(values) & torch.isfinite(places), places, BINS).to(torch.int64)
