"""The house's own rules: which way imports run, what importing costs, what is exported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import rootstock

SOURCE = Path(rootstock.__file__).parent
#: Rooms from the ground up: a module may import from its own room and from those before it.
ROOMS = [
    ["errors", "names"],
    ["data", "progress", "children"],
    ["protocol"],
    ["worker"],
    ["config"],
    ["clusters"],
    ["root"],
    ["environments"],
    ["launch"],
    ["atoms"],
    ["arguments"],
    ["calculator"],
    ["serving", "listening", "fetching", "verify"],
    ["health"],
    ["integrations"],
    ["testing"],
    ["cli"],
    ["__main__"],
]
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def modules() -> list[Path]:
    return [p for p in sorted(SOURCE.rglob("*.py")) if "catalogue" not in p.parts]


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a module imports from, type-only imports included."""
    package = path.relative_to(SOURCE).parts[:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            parts = [*base, *(node.module.split(".") if node.module else [])]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("_rootstock."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rootstock"):
            pytest.fail(f"{path} imports rootstock absolutely")
    return found - {"__version__"}


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_downward(path):
    here = room_of(path)
    if here in ("__init__", "py"):
        return
    for room in imported_rooms(path):
        assert LEVEL[room] <= LEVEL[here], f"{here} imports {room}, which lies above it"
        if here != "worker":
            assert room != "worker", "no host module imports the worker"


def test_every_room_has_a_place():
    assert {room_of(p) for p in modules()} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_module_outgrows_the_house(path):
    assert len(path.read_text().splitlines()) <= 400


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_importing_is_cheap_and_silent():
    code = "import sys, rootstock; print(sorted(m for m in ('ase','numpy','rich','typer','uv') if m in sys.modules))"
    assert run(code) == "[]"


def test_the_calculator_does_not_load_the_command_line():
    code = "import sys; from rootstock import RootstockCalculator; print('rich' in sys.modules, 'typer' in sys.modules)"
    assert run(code) == "False False"


def test_every_public_name_is_there():
    for name in rootstock.__all__:
        assert getattr(rootstock, name).__module__.startswith("rootstock")
    with pytest.raises(AttributeError, match="nonsense"):
        rootstock.nonsense


@pytest.mark.parametrize("name", [n for n in rootstock.__all__ if n.endswith("Error")])
def test_errors_are_one_documented_tree(name):
    error = getattr(rootstock, name)
    assert issubclass(error, rootstock.RootstockError)
    assert error.__doc__
    assert name in sys.modules["rootstock.errors"].__doc__


WORKER = [p for p in modules() if room_of(p) in ("errors", "data", "protocol", "worker")]


@pytest.mark.parametrize("path", WORKER, ids=lambda p: str(p.relative_to(SOURCE)))
def test_worker_code_is_python_3_9_and_imports_only_what_is_there(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    allowed = {*sys.stdlib_module_names, "numpy", "ase", "_rootstock", "torch", "jax"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {a.name.split(".")[0] for a in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module.split(".")[0] in allowed
