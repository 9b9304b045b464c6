"""Environments that use the packages of a site's own Python.

Clusters have their own PyTorch (Cray, ROCm, Intel XPU, modules) that must not be replaced. With
``system-site-packages`` an environment sees the interpreter's site packages, its lock leaves out
what they provide, and after the installation every requirement is checked against all packages that
are really installed.
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
    from .environment_file import EnvironmentFile
    from .options import BuildOptions

__all__ = [
    "EXCLUDED",
    "check_requirements",
    "exclude",
    "link_site_packages",
    "site_packages",
    "wants_site",
]

#: File with overrides for uv, in the staging directory.
EXCLUDED = "site.txt"
#: Never taken from the site: they would shadow the environment's own tools.
_TOOLS = {"pip", "setuptools", "wheel", "uv"}
_LIST = """
import importlib.metadata, json, os, platform, sys
distributions = [
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
print(json.dumps([distributions, markers]))
"""
_FOLDERS = """
import json, site
print(json.dumps(site.getsitepackages()))
"""


def wants_site(file: EnvironmentFile, options: BuildOptions) -> bool:
    """Return whether the environment sees the interpreter's site packages."""
    if options.system_site_packages is not None:
        return options.system_site_packages
    return bool(file.settings.get("system-site-packages", False))


def site_packages(file: EnvironmentFile, python: Optional[str]) -> dict[str, str]:
    """Return the packages of the interpreter's site, version by name.

    ``site-packages = ["torch", ...]`` in ``[tool.rootstock]`` limits them; by default all are used.

    Raises
    ------
    BuildError
        No interpreter was named, it does not run, or it has another version of a dependency.
    """
    if not python or not Path(python).is_file():
        msg = (
            f"{file.path} uses a site's own packages; name its interpreter with --python "
            f'/path/to/python or python = "/path/to/python" in [tool.rootstock] (now: {python!r})'
        )
        raise BuildError(msg)
    chosen = file.settings.get("site-packages")
    wanted = None if chosen is None else {canonicalize_name(name) for name in chosen}
    installed, _ = _installed(Path(python))
    provided = {
        name: version
        for name, version, _ in installed
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
    """Exclude `provided` from a resolution: write overrides with a marker that is never true."""
    lines = [f'{name} ; python_version < "0"\n' for name in sorted(provided)]
    (folder / EXCLUDED).write_text("".join(lines))


def link_site_packages(environment: Path, python: Path) -> None:
    """Let an environment see an interpreter's site packages, after its own.

    A ``.pth`` file does it: ``--system-site-packages`` would mean the *base* of an interpreter that
    is a virtual environment itself.
    """
    folders = _run_code(python, _FOLDERS)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    lines = [f"import site; site.addsitedir({folder!r})\n" for folder in folders]
    (packages / "rootstock_site.pth").write_text("".join(lines))


def check_requirements(python: Path) -> list[str]:
    """Return the requirements that an environment does not meet, the site's packages included."""
    installed, markers = _installed(python)
    versions = {name: version for name, version, _ in installed}
    problems = []
    for name, _, requires in installed:
        for text in requires:
            try:
                requirement = Requirement(text)
                if requirement.marker and not requirement.marker.evaluate({**markers, "extra": ""}):
                    continue
            except (InvalidRequirement, UndefinedEnvironmentName):
                continue  # written before the standard
            version = versions.get(canonicalize_name(requirement.name))
            if version is None:
                problems.append(f"{name} needs {text}, which is not installed")
            elif not _fits(requirement, version):
                problems.append(f"{name} needs {text}, but {version} is installed")
    return problems


def _fits(requirement: Requirement, version: str) -> bool:
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True


def _installed(python: Path) -> tuple[list[tuple[str, str, list[str]]], dict[str, Any]]:
    """Return name, version and requirements of what an interpreter sees, the first of each name."""
    distributions, markers = _run_code(python, _LIST)
    first: dict[str, tuple[str, str, list[str]]] = {}
    for name, version, requires in distributions:
        if name:
            key = canonicalize_name(name)
            first.setdefault(key, (key, version, requires))
    return list(first.values()), markers


def _run_code(python: Path, code: str) -> Any:
    """Run code in an interpreter; return the JSON that it prints."""
    try:
        done = subprocess.run(  # noqa: S603  the interpreter that the maintainer named
            [str(python), "-I", "-c", code], check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        output = getattr(error, "stderr", "") or error
        msg = f"the packages of {python} can't be listed: {output}"
        raise BuildError(msg) from error
