"""Structs that threads decode for the first time at the same moment."""

from __future__ import annotations

import pytest

from tests.road.site import Site

#: What is decoded names each field. Its values are no good, which is seen by what msgspec knows of the field.
RACE = """
    import importlib, pkgutil, sys, threading
    import msgspec
    import disttrack

    for module in pkgutil.walk_packages(disttrack.__path__, "disttrack."):
        if module.name.split(".")[1] in ("records", "transport", "index"):
            importlib.import_module(module.name)

    def decode():
        for kind in kinds:
            data = msgspec.msgpack.encode(dict.fromkeys(kind.__struct_encode_fields__, b"no good"))
            start.wait()
            try:
                msgspec.msgpack.decode(data, type=kind)
            except msgspec.ValidationError:
                pass

    kinds = [kind for kind in msgspec.Struct.__subclasses__() if kind.__module__.startswith("disttrack.")]
    assert len(kinds) > 40, kinds
    sys.setswitchinterval(1e-6)
    start = threading.Barrier(4)
    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("alive")
"""


@pytest.mark.real(timeout_s=120)
def test_threads_that_decode_a_struct_for_the_first_time_side_by_side_live(site: Site) -> None:
    for _ in range(3):
        assert site.python(site.script(RACE)).endswith("alive\n")
