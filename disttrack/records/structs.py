"""What has to be done with Structs before threads use them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

__all__ = ["prepare"]


def prepare(names: Mapping[str, object]) -> None:
    """Have msgspec learn the fields of a module's Structs while it is imported, by one thread.

    Else it learns them at the first decode, and gives other threads what it knows by then: a segmentation fault, of a
    training process too (msgspec 0.22.0; tests/records/test_structs.py).
    """
    for value in names.values():
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value is not msgspec.Struct:
            msgspec.msgpack.Decoder(value)
