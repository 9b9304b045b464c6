"""Read an environment file without executing it."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..data import EnvironmentFile
from ..errors import EnvironmentFileError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TEMPLATE", "declared_packages", "read_environment_file"]

#: The regular expression that PEP 723 gives.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

#: Of ``[tool.rootstock]``: types, and their names for people.
_SETTINGS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(("python", "licence", "paper", "cache"), (str, "a string")),
    **dict.fromkeys(("licences", "variables"), (dict, "a table of strings")),
    "elements": ((str, dict), "a string, or a table of strings by model"),
    "system-site-packages": (bool, "true or false"),
    "site-packages": (list, "a list of packages"),
}

#: What a complete file looks like; for error messages and docs.
TEMPLATE = """\
# /// script
# requires-python = ">=3.10"
# dependencies = ["ase>=3.23"]
# ///
def setup(model, device):
    from ase.calculators.emt import EMT

    return EMT()
"""


def read_environment_file(path: Path, name: str, origin: str) -> EnvironmentFile:
    """Read metadata and ``MODELS`` of an environment file.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        Its name in model strings.
    origin : str
        ``"overlay"``, ``"root"``, ``"catalogue"`` or ``"file"``.

    Raises
    ------
    EnvironmentFileError
        The file is missing, unreadable, not Python, has no or broken metadata or no ``setup``.
    """
    text = _read(path)
    metadata = _metadata(path, text)
    tree = _tree(path, text)
    if not _defines_setup(tree):
        msg = f"{path} defines no setup(model, device). A complete file:\n\n{TEMPLATE}"
        raise EnvironmentFileError(msg)
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    return EnvironmentFile(name, path, metadata, _models(path, tree), origin, summary)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8").replace("\r\n", "\n")
    except FileNotFoundError as error:
        msg = f"there is no environment file {path}: check the path"
        raise EnvironmentFileError(msg) from error
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the environment file {path} can't be read: {error}"
        raise EnvironmentFileError(msg) from error


def _metadata(path: Path, text: str) -> dict[str, Any]:
    blocks = [found for found in _BLOCK.finditer(text) if found["type"] == "script"]
    if len(blocks) != 1:
        count = "no" if not blocks else "more than one"
        msg = f"{path} has {count} '# /// script' block (PEP 723). A complete file:\n\n{TEMPLATE}"
        raise EnvironmentFileError(msg)
    lines = blocks[0]["content"].splitlines()
    content = "\n".join(line[2:] if line.startswith("# ") else line[1:] for line in lines)
    try:
        metadata = tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        msg = f"the '# /// script' block of {path} is not valid TOML: {error}"
        raise EnvironmentFileError(msg) from error
    _check(path, metadata)
    return dict(metadata)


def declared_packages(file: EnvironmentFile) -> list[str]:
    """Return the names of a file's declared dependencies, with NumPy, ASE and PyTorch."""
    names = {"numpy", "ase", "torch"}
    for text in file.metadata.get("dependencies", []):
        try:
            names.add(Requirement(text).name)
        except InvalidRequirement:
            continue  # uv knows more forms than the standard
    return sorted(names)


def _check(path: Path, metadata: dict[str, Any]) -> None:
    dependencies = metadata.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(d, str) for d in dependencies):
        msg = f"{path}: dependencies must be a list of strings"
        raise EnvironmentFileError(msg)
    try:
        SpecifierSet(metadata.get("requires-python", ""))
    except (InvalidSpecifier, TypeError, AttributeError) as error:
        msg = f"{path}: requires-python must be a version specifier such as '>=3.10': {error}"
        raise EnvironmentFileError(msg) from error
    tool = metadata.get("tool", {})
    for name in ("uv", "rootstock"):
        if not isinstance(tool, dict) or not isinstance(tool.get(name, {}), dict):
            msg = f"{path}: [tool.{name}] must be a table"
            raise EnvironmentFileError(msg)
    for name, value in tool.get("rootstock", {}).items():
        kinds, words = _SETTINGS.get(name, (object, ""))
        if not isinstance(value, kinds):
            msg = f"{path}: {name} in [tool.rootstock] must be {words}, not {value!r:.80}"
            raise EnvironmentFileError(msg)


def _tree(path: Path, text: str) -> ast.Module:
    try:
        return ast.parse(text, str(path))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # nested too deeply
        where = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        version = ".".join(map(str, sys.version_info[:2]))
        msg = f"{path} is not valid Python{where} (read with Python {version}): {error}"
        raise EnvironmentFileError(msg) from error


def _defines_setup(tree: ast.Module) -> bool:
    """Tell if the module's top level, conditions included, binds the name ``setup``."""
    nodes: list[ast.AST] = list(tree.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if node.name == "setup":
                return True
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            if {alias.asname or alias.name for alias in node.names} & {"setup", "*"}:
                return True
        elif isinstance(node, ast.Name):
            if node.id == "setup" and isinstance(node.ctx, ast.Store):
                return True
        else:
            nodes.extend(ast.iter_child_nodes(node))
    return False


def _models(path: Path, tree: ast.Module) -> dict[str, str]:
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if not any(isinstance(t, ast.Name) and t.id == "MODELS" for t in targets):
            continue
        try:
            models = ast.literal_eval(node.value)  # type: ignore[attr-defined]
            return {str(name): str(text) for name, text in models.items()}
        except (ValueError, AttributeError, TypeError) as error:
            msg = f"{path}: MODELS must be a literal dict of strings, it is read without executing"
            raise EnvironmentFileError(msg) from error
    return {}
