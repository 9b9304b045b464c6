"""Read an environment file without executing it."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
import sysconfig
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..errors import EnvironmentFileError
from ..support.suggestions import did_you_mean, similar_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "TEMPLATE",
    "EnvironmentFile",
    "check_settings",
    "declared_packages",
    "read_environment_file",
]

#: The regular expression that PEP 723 gives.
_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")

#: Keys of ``[tool.rootstock]``: types, and the names of the types in messages.
_SETTINGS: dict[str, tuple[Any, str]] = {
    **dict.fromkeys(("python", "licence", "license", "paper", "cache"), (str, "a string")),
    **dict.fromkeys(("licences", "licenses", "variables"), (dict, "a table of strings")),
    **dict.fromkeys(
        ("elements", "level_of_theory"), ((str, dict), "a string, or a table of strings by model")
    ),
    "system-site-packages": (bool, "true or false"),
    "site-packages": (list, "a list of packages"),
}
#: Keys that affect which packages are installed.
_DECISIVE = ("python", "system-site-packages", "site-packages")

#: A complete file, for error messages.
TEMPLATE = """\
# /// script
# requires-python = ">=3.10"
# dependencies = ["ase>=3.23"]
# ///
def setup(model, device):
    from ase.calculators.emt import EMT

    return EMT()
"""


@dataclass(frozen=True)
class EnvironmentFile:
    """An environment file that was read (never executed).

    Two are equal if name, path, origin and content are.

    Attributes
    ----------
    name : str
        The name in model strings and in the root.
    path : pathlib.Path
        Path of the file.
    origin : str
        ``"user"`` (the user layer), ``"root"``, ``"catalogue"`` or ``"file"``.
    digest : str
        SHA-256 of its content.
    metadata : mapping
        The parsed PEP 723 block.
    models : mapping of str to str
        The literal ``MODELS``: argument to one-line description.
    summary : str
        First line of its docstring.
    """

    name: str
    path: Path
    origin: str
    digest: str
    metadata: Mapping[str, Any] = field(compare=False, repr=False)
    models: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    summary: str = field(default="", compare=False, repr=False)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The ``[tool.rootstock]`` table."""
        table: Mapping[str, Any] = self.metadata.get("tool", {}).get("rootstock", {})
        return table

    @property
    def requires_python(self) -> str:
        """The ``requires-python`` specifier, or the oldest Python that a worker runs on."""
        return str(self.metadata.get("requires-python", ">=3.9"))

    @cached_property
    def requirements_digest(self) -> str:
        """SHA-256 of everything in the file that affects which packages are installed.

        It does not include ``setup()``, which is read from the file at each start, nor variables,
        licences and the like in ``[tool.rootstock]``.
        """
        relevant = {
            "requires-python": self.metadata.get("requires-python"),
            "dependencies": self.metadata.get("dependencies", []),
            "uv": self.metadata.get("tool", {}).get("uv", {}),
            "rootstock": {k: v for k, v in self.settings.items() if k in _DECISIVE},
            "platform": sysconfig.get_platform(),
        }
        text = json.dumps(relevant, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def licence(self, model: str = "") -> str:
        """Return the licence of a model's weights, as the file states it; may be empty."""
        by_model = {**self.settings.get("licenses", {}), **self.settings.get("licences", {})}
        general = self.settings.get("licence", self.settings.get("license", ""))
        return str(by_model.get(model, general))

    def elements(self, model: str = "") -> tuple[str, ...]:
        """Return the elements that a model claims to work for; empty if the file does not say."""
        return tuple(self._by_model("elements", model).split())

    def level_of_theory(self, model: str = "") -> str:
        """Return the method that a model's training data were computed with; may be empty."""
        return self._by_model("level_of_theory", model)

    def _by_model(self, key: str, model: str) -> str:
        stated = self.settings.get(key, "")
        if isinstance(stated, dict):
            stated = stated.get(model or "default", "")
        return str(stated)


def read_environment_file(path: Path, name: str, origin: str) -> EnvironmentFile:
    """Read metadata and ``MODELS`` of an environment file.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        Its name in model strings.
    origin : str
        ``"user"``, ``"root"``, ``"catalogue"`` or ``"file"``.

    Raises
    ------
    EnvironmentFileError
        The file is missing, unreadable, not Python, has no or broken metadata or no ``setup``.
    """
    raw = _read(path)
    text = _decode(path, raw)
    metadata = _metadata(path, text)
    tree = _tree(path, text)
    if not _defines_setup(tree):
        msg = f"{path} defines no setup(model, device). A complete file:\n\n{TEMPLATE}"
        raise EnvironmentFileError(msg)
    summary = (ast.get_docstring(tree) or "").partition("\n")[0]
    digest = hashlib.sha256(raw).hexdigest()
    return EnvironmentFile(name, path, origin, digest, metadata, _models(path, tree), summary)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        msg = f"there is no environment file {path}: check the path"
        raise EnvironmentFileError(msg) from error
    except OSError as error:
        msg = f"the environment file {path} can't be read: {error}"
        raise EnvironmentFileError(msg) from error


def _decode(path: Path, raw: bytes) -> str:
    try:
        return raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        msg = f"the environment file {path} can't be read: {error}"
        raise EnvironmentFileError(msg) from error


def _metadata(path: Path, text: str) -> dict[str, Any]:
    blocks = [block for block in _BLOCK.finditer(text) if block["type"] == "script"]
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


def check_settings(file: EnvironmentFile, *, strict: bool) -> None:
    """Raise or warn if ``[tool.rootstock]`` has unknown keys.

    Parameters
    ----------
    file : EnvironmentFile
        The file.
    strict : bool
        Raise, as commands that write a root do; else warn, because a shared root may be newer than
        the Rootstock that reads it.

    Raises
    ------
    EnvironmentFileError
        If strict: names the unknown keys, with suggestions for the first.
    """
    unknown = [name for name in file.settings if name not in _SETTINGS]
    if not unknown:
        return
    named = ", ".join(map(repr, unknown))
    msg = (
        f"{file.path}: unknown key{'s' if len(unknown) > 1 else ''} {named} in [tool.rootstock]"
        f"{did_you_mean(similar_names(unknown[0], _SETTINGS))} Known keys: {', '.join(_SETTINGS)}."
    )
    if strict:
        raise EnvironmentFileError(msg)
    warnings.warn(msg, stacklevel=4)


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
        kinds, words = _SETTINGS.get(name, (object, ""))  # unknown keys: see check_settings
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
    """Return whether the module's top level, conditions included, binds the name ``setup``."""
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
            msg = (
                f"{path}: MODELS must be a literal dict of strings, because it is read without "
                "executing the file"
            )
            raise EnvironmentFileError(msg) from error
    return {}
