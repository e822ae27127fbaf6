"""The house: a room imports only from floors below it; each dependency has one door."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "disttrack"
FLOORS = [  # top first (docs/architecture.md)
    {"cli"},
    {"server", "exchange", "doctor", "compat", "integrations"},
    {"api", "writer", "query"},
    {"transport", "index"},
    {"journal"},
    {"capture", "environments", "diagnostics"},
    {"records", "settings"},
    {"errors"},
]
DOORS = {
    "zmq": {"transport"},
    "sqlite3": {"index"},
    "psycopg": {"index"},
    "psutil": {"capture"},
    "pynvml": {"capture"},
    "msgspec": {"records", "transport", "index"},
    "backports": {"journal", "index"},
    "compression": {"journal", "index"},
    # in api and writer only once there are media; in server for the bytes of frames
    "numpy": {"index", "query", "diagnostics", "api", "writer", "server"},
    "PIL": {"writer"},
    "pyarrow": {"exchange", "query"},
    "pandas": {"query"},
    "polars": {"query"},
    "torch": {"integrations"},
    "ray": {"integrations"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "click": {"cli"},
    "rich": {"cli"},
    "yaml": {"settings", "api"},
}
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imports(path: Path) -> Iterator[str]:
    """Yield every dotted name a module imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def trespasses(package: Path) -> Iterator[str]:
    """Yield every import that goes up, sideways, to the front door, or past a dependency's door."""
    for path in sorted(package.rglob("*.py")):
        here = path.relative_to(package).with_suffix("").parts[0]
        if here.startswith("__"):  # the front door itself
            continue
        for name in imports(path):
            top, there = [*name.split("."), ""][:2]
            upward = top == "disttrack" and there != here and FLOOR_OF.get(there, -1) <= FLOOR_OF[here]
            if upward or here not in DOORS.get(top, {here}):
                yield f"{path.relative_to(package)} may not import {name}"


def test_rooms_import_downward_only_and_dependencies_through_their_doors() -> None:
    assert list(trespasses(PACKAGE)) == []


def test_a_trespass_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "journal.py").write_text(
        "def f():\n    from disttrack.api import run\n    import zmq\n    import disttrack\n"
    )
    assert len(list(trespasses(tmp_path))) == 3


def test_every_module_says_what_it_is_and_what_it_gives() -> None:
    silent: list[str] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        names = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        is_room_or_program = path.name in ("__init__.py", "__main__.py")
        if ast.get_docstring(tree) is None or ("__all__" not in names and not is_room_or_program):
            silent.append(str(path.relative_to(PACKAGE)))
    assert silent == []
