"""The layout of the package: the direction of imports, file lengths, the cost of importing."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import rootstock
from tests.support.scripts import output_of

SOURCE = Path(rootstock.__file__).parent
TESTS = Path(__file__).resolve().parent
#: The packages from the bottom up: a module may import from its own package and from those before.
ORDER = [
    "_version",
    "errors",
    "properties",
    "support",
    "protocol",
    "worker",
    "structures",
    "structure_calculator",
    "settings",
    "environments",
    "runtime",
    "evaluation",
    "calculator",
    "committee",
    "workflows",
    "reports",
    "ipi",
    "conformance",
    "maintenance",
    "testing",
    "integrations",
    "cli",
    "__main__",
]
LEVEL = {package: level for level, package in enumerate(ORDER)}
MAX_LINES = 400


def modules() -> list[Path]:
    return [p for p in sorted(SOURCE.rglob("*.py")) if not p.name.endswith("_env.py")]


def package_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[tuple[str, ...]]:
    """Return the modules of the package that a module imports, lazily or for types included."""
    package = path.relative_to(SOURCE).parts[:-1]
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            parts = (*base, *(node.module.split(".") if node.module else []))
            imported |= {_module(parts, alias.name) for alias in node.names}
        for name in absolute_imports(node):
            top, *parts = name.split(".")
            assert top != "rootstock", f"{path} imports {name} absolutely"
            if top == "_rootstock":  # the worker's name of the package
                imported.add(_module(tuple(parts[:-1]), parts[-1]))
    return imported


def _module(parts: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Return the module that a name belongs to: itself, or the one that defines it."""
    path = SOURCE.joinpath(*parts, name)
    return (*parts, name) if path.with_suffix(".py").exists() or path.is_dir() else parts


def absolute_imports(node: ast.AST) -> list[str]:
    """Return the dotted names that a node imports absolutely, also through importlib."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
        return [a.value for a in node.args[:1] if isinstance(a, ast.Constant)]
    return []


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_run_downward(path):
    package = package_of(path)
    if package == "__init__":
        return
    for module in imported_modules(path):
        assert module, f"{package} imports the package itself"
        assert LEVEL[module[0]] <= LEVEL[package], (
            f"{package} imports {'.'.join(module)}, which is above"
        )
        if package != "worker":
            assert module[0] != "worker", "no module of the main process imports the worker"


def test_no_import_cycle():
    """All imports count, also those inside functions and for types."""
    graph = {}
    for path in modules():
        name = path.relative_to(SOURCE).with_suffix("").parts
        name = name[:-1] if name[-1] == "__init__" else name
        graph[name] = {module for module in imported_modules(path) if module != name}
    finished: set[tuple[str, ...]] = set()

    def visit(module, trail):
        assert module not in trail, " -> ".join(".".join(m) for m in (*trail, module))
        if module in finished or module not in graph:
            return
        for imported in graph[module]:
            visit(imported, (*trail, module))
        finished.add(module)

    for module in graph:
        if module:  # the top-level package imports all public names
            visit(module, ())


def test_the_order_has_every_package():
    assert {package_of(p) for p in modules()} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_module_is_too_long(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


TEST_FILES = sorted(TESTS.rglob("*.py"))


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda p: str(p.relative_to(TESTS)))
def test_tests_are_short_and_import_no_other_test(path):
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_LINES
    for node in ast.walk(ast.parse(text)):
        names = absolute_imports(node)
        if isinstance(node, ast.ImportFrom) and node.level:
            names += [f"{node.module or ''}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            assert not any(p.startswith(("test_", "conftest")) for p in parts), f"{path}: {name}"


#: Tests that go through the whole program, whatever folder they lie in.
END_TO_END = ("models", "reliability", "support")


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda p: str(p.relative_to(TESTS)))
def test_tests_import_what_their_folder_may_import(path):
    """Calculators, prepared models and the command line are how tests drive what they test."""
    folder = path.relative_to(TESTS).parts[0]
    if folder not in LEVEL or folder in END_TO_END:
        return
    drivers = {
        "structures",
        "calculator",
        "runtime",
        "testing",
        "maintenance",
        "cli",
        "conformance",
        "ipi",
    }
    for node in ast.walk(ast.parse(path.read_text())):
        for name in absolute_imports(node):
            top, *parts = name.split(".")
            if top == "rootstock" and parts and parts[0] in LEVEL:
                below = LEVEL[parts[0]] <= LEVEL[folder]
                assert below or parts[0] in drivers, f"{path} imports {name}"


@pytest.mark.parametrize(
    "folder", [p for p in sorted(TESTS.iterdir()) if p.is_dir()], ids=lambda p: p.name
)
def test_test_folders_mirror_the_package(folder):
    if folder.name not in ("support", "models", "reliability", "__pycache__"):
        assert folder.name in LEVEL or (SOURCE / f"{folder.name}.py").exists()


def test_importing_is_cheap_and_silent():
    code = "import sys, rootstock; print(sorted(m for m in ('ase','numpy','rich','typer','uv') if m in sys.modules))"
    assert output_of(code).strip() == "[]"


def test_the_calculator_does_not_load_the_command_line():
    code = "import sys; from rootstock import RootstockCalculator; print('rich' in sys.modules, 'typer' in sys.modules)"
    assert output_of(code).strip() == "False False"


def test_every_public_name_exists():
    for name in set(rootstock.__all__) - {"__version__"}:
        assert getattr(rootstock, name).__module__.startswith("rootstock")
    with pytest.raises(AttributeError, match="nonsense"):
        rootstock.nonsense


WORKER = [
    *(
        p
        for p in modules()
        if package_of(p) in ("_version", "errors", "properties", "protocol", "worker")
    ),
    SOURCE / "testing" / "fake_env.py",
]


@pytest.mark.parametrize("path", WORKER, ids=lambda p: str(p.relative_to(SOURCE)))
def test_worker_code_is_python_3_9_and_imports_only_available_packages(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    allowed = {*sys.stdlib_module_names, "numpy", "ase", "_rootstock", "torch", "jax"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {a.name.split(".")[0] for a in node.names} <= allowed
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert node.module.split(".")[0] in allowed
