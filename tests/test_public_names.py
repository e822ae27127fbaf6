"""The public face: these names, and nothing loaded before it is used."""

import subprocess
import sys

import disttrack

NAMES = (
    "AlertLevel Api Histogram Image Rank Receipt Run Settings Table Video "
    "alert config define_metric errors finish init log mark_preempting run save summary unwatch watch"
).split()
HEAVY = ["torch", "ray", "zmq", "numpy", "sqlite3", "starlette", "msgspec", "PIL", "psutil", "click", "rich", "yaml"]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300).stdout


def test_the_public_names_are_these() -> None:
    assert sorted(disttrack.__all__) == NAMES
    assert set(NAMES) <= set(dir(disttrack))


def test_every_public_name_can_be_had() -> None:
    for name in set(NAMES) - {"config", "summary"}:  # those two need a run
        getattr(disttrack, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(disttrack, "nonsense")


def test_import_loads_no_heavy_module() -> None:
    loaded = run(f"import disttrack, sys; print([name for name in {HEAVY!r} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_init_loads_neither_torch_nor_ray_nor_numpy() -> None:
    code = (
        "import disttrack, sys; disttrack.init(mode='disabled').log({'a': 1}); "
        "print([name for name in ['torch', 'ray', 'zmq', 'numpy', 'sqlite3', 'starlette'] if name in sys.modules])"
    )
    assert run(code).strip() == "[]"
