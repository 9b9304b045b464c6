"""Resolve an environment file's dependencies into a lock with hashes (PEP 751).

uv's pip interface is used, because it supports ``--torch-backend`` and constraints. It reads the
dependencies of a script but silently ignores the script's ``[tool.uv.sources]`` and indexes, so the
metadata is passed as a ``pyproject.toml``, of which uv reads everything.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import tomli_w
from packaging.specifiers import SpecifierSet

from ..errors import BuildError, EnvironmentFileError
from ..settings.root import writing
from ..support.files import write_atomically
from .options import DEFAULT_OPTIONS, BuildOptions
from .site_packages import EXCLUDED, exclude, site_packages, wants_site
from .uv import uv_flags

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .environment import Environment
    from .environment_file import EnvironmentFile
    from .uv import Uv

__all__ = [
    "Change",
    "Lock",
    "changes",
    "make_lock",
    "read_lock",
    "write_project",
]

_PYTORCH_INDEX = "download.pytorch.org"


@dataclass(frozen=True)
class Lock:
    """A lock file.

    Attributes
    ----------
    path : Path
        Path of the lock.
    digest : str
        SHA-256 of its bytes.
    requirements : str
        Digest of the requirements that it was resolved from.
    python : str
        Argument for ``uv venv --python``: a version, or the path of an interpreter.
    packages : mapping of str to str
        Version by name.
    site : tuple of str or None
        ``name==version`` of the packages that the interpreter's own site provides, for an
        environment that sees them.
    """

    path: Path
    digest: str
    requirements: str
    python: str
    packages: Mapping[str, str]
    site: Optional[tuple[str, ...]] = None


@dataclass(frozen=True)
class Change:
    """One package in which two locks differ.

    Attributes
    ----------
    name : str
        Name of the package.
    before, after : str
        Its versions; empty if a lock does not have it.
    """

    name: str
    before: str
    after: str


def changes(before: Optional[Lock], after: Lock) -> tuple[Change, ...]:
    """Return the packages in which two locks differ."""
    old = {} if before is None else before.packages
    new = after.packages
    return tuple(
        Change(name, old.get(name, ""), new.get(name, ""))
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    )


def read_lock(path: Path) -> Optional[Lock]:
    """Return the lock; None if there is none or Rootstock did not write it."""
    try:
        raw = path.read_bytes()
        table = tomllib.loads(raw.decode())
        ours = table["tool"]["rootstock"]
        packages = {
            entry["name"]: str(entry.get("version", "")) for entry in table.get("packages", [])
        }
        site = tuple(ours["site"]) if "site" in ours else None
        digest = hashlib.sha256(raw).hexdigest()
        return Lock(path, digest, ours["metadata"], ours["python"], packages, site)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None


def write_project(file: EnvironmentFile, folder: Path) -> None:
    """Write the file's metadata as a ``pyproject.toml`` into `folder`.

    Relative paths in ``[tool.uv]`` are relative to the environment file, as for uv.

    Raises
    ------
    EnvironmentFileError
        ``[tool.uv]`` is malformed.
    """
    uv = json.loads(json.dumps(file.metadata.get("tool", {}).get("uv", {}), default=str))
    try:
        _make_paths_absolute(uv, file.path.parent)
    except (AttributeError, TypeError) as error:
        msg = f"[tool.uv] of {file.path} is malformed: {error}"
        raise EnvironmentFileError(msg) from error
    project = {
        "project": {
            "name": "rootstock-environment",
            "version": "0",
            "requires-python": file.requires_python,
            "dependencies": list(file.metadata.get("dependencies", [])),
        },
        "tool": {"uv": uv},
    }
    # The table is written even if it is empty: it keeps uv from looking in the folders above.
    (folder / "pyproject.toml").write_text(tomli_w.dumps(project), encoding="utf-8")


def _make_paths_absolute(uv: dict[str, Any], here: Path) -> None:
    for source in uv.get("sources", {}).values():
        for table in source if isinstance(source, list) else [source]:
            _absolute(table, "path", here)
    for index in uv.get("index", []):
        _absolute(index, "url", here)
    for key in ("find-links", "extra-index-url"):
        if key in uv:
            uv[key] = [_resolved(link, here) for link in uv[key]]


def _absolute(table: dict[str, Any], key: str, here: Path) -> None:
    if key in table:
        table[key] = _resolved(table[key], here)


def _resolved(link: str, here: Path) -> str:
    looks_local = "://" not in link and not os.path.isabs(link)
    return str(here / link) if looks_local else link


def make_lock(
    environment: Environment, staging: Path, uv: Uv, options: BuildOptions = DEFAULT_OPTIONS
) -> Lock:
    """Resolve the dependencies and replace the lock of the writable layer by one rename.

    Pins of an older lock are kept where they still fit, unless `options` ask for an upgrade.

    Parameters
    ----------
    environment : Environment
        The environment to lock.
    staging : Path
        Staging directory, on the same file system as the lock.
    uv : Uv
        Runs uv.
    options : BuildOptions
        Options of the resolution.

    Raises
    ------
    BuildError
        uv found no solution, or no Python; shows uv's output.
    """
    file, paths = environment.file, environment.writable
    write_project(file, staging)
    output = staging / paths.lock.name
    if paths.lock.exists() and not options.upgrade:
        shutil.copyfile(paths.lock, output)
    site = None
    python = options.python or file.settings.get("python") or os.environ.get("UV_PYTHON")
    if wants_site(file, options):
        site = site_packages(file, python)
        exclude(site, staging)
    python = _Resolver(file, output, uv, options).resolve(python)
    table: dict[str, Any] = {"metadata": file.requirements_digest, "python": python}
    if site is not None:
        table["site"] = [f"{name}=={version}" for name, version in sorted(site.items())]
    with writing(paths.lock), paths.layer.writable_by_group():
        paths.lock.parent.mkdir(parents=True, exist_ok=True)
        text = output.read_text(encoding="utf-8")
        write_atomically(paths.lock, text + "\n" + tomli_w.dumps({"tool": {"rootstock": table}}))
    written = read_lock(paths.lock)
    if written is None:
        msg = f"the lock {paths.lock} can't be read back: remove it and lock again"
        raise BuildError(msg)
    return written


class _Resolver:
    """One resolution: which Python, which PyTorch build."""

    def __init__(self, file: EnvironmentFile, output: Path, uv: Uv, options: BuildOptions) -> None:
        self._file = file
        self._output = output
        self._uv = uv
        self._backend = options.torch_backend or _torch_backend(file.metadata)
        self._flags = uv_flags(options)
        excluded = output.parent / EXCLUDED
        if excluded.exists():  # the site provides them, usually PyTorch among them
            self._flags += ["--override", EXCLUDED]
            self._backend = options.torch_backend

    def resolve(self, asked: Optional[str]) -> str:
        """Write the lock for a Python; return that Python, as ``uv venv --python`` takes it.

        Without `asked` it is the newest Python on this machine for which every package has a wheel;
        if there is none, the newest for which uv finds a solution.
        """
        if asked:
            self._compile(str(asked))
            return str(asked)
        allowed = SpecifierSet(self._file.requires_python)
        interpreters = [i for i in self._uv.interpreters() if allowed.contains(i.version)]
        if len(interpreters) > 1:
            for interpreter in interpreters:
                if self._has_wheels(interpreter.path):
                    return interpreter.minor
        if not interpreters:  # uv downloads one, or fails with its reason
            self._compile(self._file.requires_python)
            return self._file.requires_python
        self._compile(interpreters[0].path)
        return interpreters[0].minor

    def _has_wheels(self, python: str) -> bool:
        try:
            self._compile(python, "--only-binary", ":all:")
        except BuildError:
            return False
        return True

    def _compile(self, python: str, *options: str) -> None:
        command = ["pip", "compile", "pyproject.toml", *self._flags]
        command += ["-o", self._output.name, "--python", python]
        # keeps the staging directory out of the lock, so that equal locks have equal bytes
        command += ["--custom-compile-command", f"rootstock install {self._file.name}"]
        purpose = f"resolving the dependencies of {self._file.path}"
        backend = ["--torch-backend", self._backend] if self._backend else []
        try:
            self._uv.run(
                [*command, *options, *backend],
                purpose,
                directory=self._output.parent,
                variables={"UV_TORCH_BACKEND": None},  # it is in `backend`
            )
        except BuildError as error:
            if _PYTORCH_INDEX not in error.output or self._backend is None:
                raise
            self._give_up_backend()
            self._compile(python, *options)

    def _give_up_backend(self) -> None:
        self._backend = None
        warnings.warn(
            f"PyTorch's own index ({_PYTORCH_INDEX}) can't be reached, so the plain PyTorch "
            "package is used; on Linux that is several GB with CUDA libraries. Set UV_FIND_LINKS "
            "to a folder with another wheel to avoid it.",
            stacklevel=2,
        )


def _torch_backend(metadata: Mapping[str, Any]) -> Optional[str]:
    """Return the PyTorch build to request; None if uv's or the file's settings decide.

    ``UV_TORCH_BACKEND`` overrides the default ``auto``; if it is empty, the plain package is used.
    """
    uv = metadata.get("tool", {}).get("uv", {})
    if "torch" in uv.get("sources", {}) or "torch-backend" in uv.get("pip", {}):
        return None
    return os.environ.get("UV_TORCH_BACKEND", "auto") or None
