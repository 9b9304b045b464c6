"""Environments over a site's own Python: what its site packages provide is left alone.

Clusters have their own PyTorch (Cray, ROCm, Intel XPU, modules) that must not be replaced. Such an
environment sees the interpreter's site packages, its lock leaves out what they provide, and after
the installation every requirement is checked against what is really there, the site's included.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from ..errors import BuildError

if TYPE_CHECKING:
    from ..data import BuildOptions, EnvironmentFile

__all__ = [
    "EXCLUDED",
    "check_requirements",
    "exclude",
    "lay_over",
    "site_packages",
    "wants_site",
]

#: File with overrides for uv, in the scratch folder.
EXCLUDED = "site.txt"
#: Never the site's: what would shadow the environment's own tools is no library of a model.
_TOOLS = {"pip", "setuptools", "wheel", "uv"}
_LIST = """
import importlib.metadata, json, os, platform, sys
found = [
    [d.metadata["Name"], d.version, d.requires or []] for d in importlib.metadata.distributions()
]
markers = {
    "implementation_name": sys.implementation.name,
    "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_python_implementation": platform.python_implementation(),
    "platform_release": platform.release(),
    "platform_system": platform.system(),
    "platform_version": platform.version(),
    "python_full_version": platform.python_version(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
}
print(json.dumps([found, markers]))
"""
_FOLDERS = """
import json, site
print(json.dumps(site.getsitepackages()))
"""


def wants_site(file: EnvironmentFile, options: BuildOptions) -> bool:
    """Tell if the environment is to be laid over the interpreter's site packages."""
    if options.system_site_packages is not None:
        return options.system_site_packages
    return bool(file.settings.get("system-site-packages", False))


def site_packages(file: EnvironmentFile, python: Optional[str]) -> dict[str, str]:
    """Return what the interpreter's site provides, version by name.

    ``site-packages = ["torch", ...]`` in ``[tool.rootstock]`` names what to take of it; else all.

    Raises
    ------
    BuildError
        No interpreter was named, it does not run, or it has another version of a dependency.
    """
    if not python or not Path(python).is_file():
        msg = (
            f"{file.path} is to be laid over a site's own Python, so say which: --python "
            f'/path/to/python, or python = "/path/to/python" in [tool.rootstock] (now: {python!r})'
        )
        raise BuildError(msg)
    chosen = file.settings.get("site-packages")
    wanted = None if chosen is None else {canonicalize_name(name) for name in chosen}
    found, _ = _look(Path(python))
    provided = {
        name: version
        for name, version, _ in found
        if name not in _TOOLS and (wanted is None or name in wanted)
    }
    for text in file.metadata.get("dependencies", []):
        requirement = Requirement(text)
        version = provided.get(canonicalize_name(requirement.name))
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            msg = (
                f"{file.path} needs {text}, but {python} has {requirement.name} {version}: change "
                "the file, or leave that package out of [tool.rootstock] site-packages"
            )
            raise BuildError(msg)
    return provided


def exclude(provided: dict[str, str], folder: Path) -> None:
    """Write overrides that take `provided` out of a resolution: a condition that is never true."""
    lines = [f'{name} ; python_version < "0"\n' for name in sorted(provided)]
    (folder / EXCLUDED).write_text("".join(lines))


def lay_over(environment: Path, python: Path) -> None:
    """Let an environment see an interpreter's site packages, after its own.

    A ``.pth`` file does it: ``--system-site-packages`` would mean the *base* of an interpreter that
    is a virtual environment itself.
    """
    folders = _ask(python, _FOLDERS)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    lines = [f"import site; site.addsitedir({folder!r})\n" for folder in folders]
    (packages / "rootstock_site.pth").write_text("".join(lines))


def check_requirements(python: Path) -> list[str]:
    """Return the requirements that an environment does not meet, the site's packages included."""
    found, markers = _look(python)
    versions = {name: version for name, version, _ in found}
    problems = []
    for name, _, requires in found:
        for text in requires:
            try:
                requirement = Requirement(text)
                if requirement.marker and not requirement.marker.evaluate({**markers, "extra": ""}):
                    continue
            except (InvalidRequirement, UndefinedEnvironmentName):
                continue  # of an age that has no standard
            version = versions.get(canonicalize_name(requirement.name))
            if version is None:
                problems.append(f"{name} needs {text}, which is not there")
            elif not _fits(requirement, version):
                problems.append(f"{name} needs {text}, there is {version}")
    return problems


def _fits(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True


def _look(python: Path) -> tuple[list[tuple[str, str, list[str]]], dict[str, Any]]:
    """Return name, version and requirements of what an interpreter sees, the first of each name."""
    found, markers = _ask(python, _LIST)
    first: dict[str, tuple[str, str, list[str]]] = {}
    for name, version, requires in found:
        if name:
            key = canonicalize_name(name)
            first.setdefault(key, (key, version, requires))
    return list(first.values()), markers


def _ask(python: Path, code: str) -> Any:
    """Run code in an interpreter; return the JSON that it prints."""
    try:
        done = subprocess.run(  # noqa: S603  the interpreter that the maintainer named
            [str(python), "-I", "-c", code], check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        words = getattr(error, "stderr", "") or error
        msg = f"{python} can't be asked what it has installed: {words}"
        raise BuildError(msg) from error
