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
    "settings",
    "environments",
    "runtime",
    "evaluation",
    "calculator",
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
    """Return the modules of the package that a module imports, type-only imports included."""
    package = path.relative_to(SOURCE).parts[:-1]
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            parts = (*base, *(node.module.split(".") if node.module else []))
            for alias in node.names:
                module = SOURCE.joinpath(*parts, alias.name)
                is_module = module.with_suffix(".py").exists() or module.is_dir()
                imported.add((*parts, alias.name) if is_module else parts)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("_rootstock."):
            imported.add(tuple(node.module.split(".")[1:]))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rootstock"):
            pytest.fail(f"{path} imports rootstock absolutely")
    return imported


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
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert not name.rpartition(".")[2].startswith(("test_", "conftest")), f"{path}: {name}"


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
    p
    for p in modules()
    if package_of(p) in ("_version", "errors", "properties", "protocol", "worker")
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
