"""Checks of what builds and downloads need on this machine and in a root."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..environments.build import find_build
from ..environments.discovery import available_environments
from ..environments.permissions import is_world_writable
from ..environments.uv import Uv
from ..errors import BuildError, RootstockError
from ..support.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..settings.root import Root

__all__ = ["Finding", "doctor"]

#: Free disk space in bytes that an environment with PyTorch needs.
_DISK = 8 * 2**30
#: Seconds to wait for the response of a server.
_TIMEOUT = 5.0


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    topic : str
        The subject.
    level : str
        ``"ok"``, ``"note"`` or ``"problem"``.
    detail : str
        The result.
    fix : str
        The command that fixes it; empty if there is nothing to fix.
    """

    topic: str
    level: str
    detail: str
    fix: str = ""


def doctor(root: Root) -> list[Finding]:
    """Check uv, Pythons, disk, network, GPU and permissions."""
    return [
        *_uv(),
        *_disk(root),
        *_network(),
        _gpu(),
        *_permissions(root),
        *_models(root),
    ]


def _uv() -> Iterator[Finding]:
    try:
        uv = Uv(Progress())
        yield Finding("uv", "ok", uv.version())
        pythons = [str(python.version) for python in uv.interpreters()]
    except BuildError as error:
        yield Finding("uv", "problem", str(error).partition("\n")[0], "pip install uv")
        return
    if pythons:
        yield Finding("Pythons", "ok", ", ".join(pythons))
    else:
        yield Finding("Pythons", "problem", "uv found no Python", "uv python install 3.12")


def _disk(root: Root) -> Iterator[Finding]:
    for topic, path in (
        ("disk of the root", root.writable.path),
        ("disk of kernels", root.private),
    ):
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        free = shutil.disk_usage(existing).free
        is_low = free < _DISK and topic == "disk of the root"
        detail = f"{free / 2**30:.0f} GiB free at {existing}"
        yield Finding(
            topic, "problem" if is_low else "ok", detail, "rootstock gc" if is_low else ""
        )


def _network() -> Iterator[Finding]:
    """Send requests as builds and downloads do: with the configured index, proxies and mirrors."""
    advice = "install and fetch where there is a network"
    try:
        Uv(Progress()).ask_index()
        yield Finding("packages", "ok", "uv's index answers")
    except BuildError as error:
        reason = error.output.strip().partition("\n")[0] or str(error)
        yield Finding("packages", "note", f"uv's index does not answer here: {reason}", advice)
    sites = {
        "weights": os.environ.get("HF_ENDPOINT", "https://huggingface.co"),
        "PyTorch's builds": "https://download.pytorch.org/whl/",
    }
    for topic, url in sites.items():
        if _answers(url):
            yield Finding(topic, "ok", f"{url} answers")
        else:
            yield Finding(topic, "note", f"{url} does not answer here", advice)


def _answers(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310  http, or an address of the user's
    try:
        urllib.request.urlopen(request, timeout=_TIMEOUT).close()  # noqa: S310
    except urllib.error.HTTPError:  # a server answered
        return True
    except (OSError, ValueError):
        return False
    return True


def _gpu() -> Finding:
    command = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603
            command, check=True, capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return Finding("GPU", "note", f"none found on {platform.node()}: models run on the CPU")
    return Finding("GPU", "ok", "; ".join(done.stdout.strip().splitlines()))


def _permissions(root: Root) -> Iterator[Finding]:
    if not root.path.exists():
        yield Finding("root", "note", f"{root.path} does not exist yet", "rootstock init")
        return
    if root.is_read_only:
        detail = f"{root.path}, read-only; your user layer is {root.user_layer}"
        yield Finding("root", "ok", detail)
    else:
        yield Finding("root", "ok", f"{root.path}, writable")
    problem = _first_bad_permission(root)
    if problem is not None:
        yield problem


def _first_bad_permission(root: Root) -> Optional[Finding]:
    """Check folders and the files directly in them, as seen by a user who is not the maintainer."""
    shared = _is_shared(root)
    layer = root.shared
    top = [layer.path, layer.environments, layer.builds, layer.cache, layer.records]
    entries = [path for folder in top if folder.is_dir() for path in _listed(folder)]
    for path in [*top, *entries]:
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if is_world_writable(path):
            detail = f"{path} is world-writable: any local user could run code as you"
            return Finding("permissions", "problem", detail, f"chmod -R o-w {root.path}")
        readable = mode & stat.S_IROTH and (not stat.S_ISDIR(mode) or mode & stat.S_IXOTH)
        if shared and not readable:
            detail = f"{path} can't be read by all users"
            return Finding("permissions", "problem", detail, f"chmod -R o+rX {root.path}")
        group = mode & stat.S_IWGRP and (not stat.S_ISDIR(mode) or mode & stat.S_ISGID)
        if layer.is_group_shared and not group:
            detail = f"{path} can't be written by the group"
            fix = f"chmod -R g+w {root.path} && find {root.path} -type d -exec chmod g+s {{}} +"
            return Finding("permissions", "problem", detail, fix)
    return None


def _is_shared(root: Root) -> bool:
    """Return whether other users are meant to read the root."""
    return root.shared.is_group_shared or root.is_read_only


def _listed(folder: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(folder) if not entry.is_symlink()]
    except OSError:
        return []


def _models(root: Root) -> Iterator[Finding]:
    for entry in available_environments(root):
        if entry.environment is None:
            problem = entry.problem.partition("\n")[0]
            yield Finding(entry.name, "problem", problem, f"edit {entry.path}")
            continue
        try:
            build = find_build(entry.environment)
        except RootstockError as error:
            yield Finding(entry.name, "problem", str(error))
            continue
        if build is not None and not os.access(build.python, os.X_OK):
            fix = f"rootstock install {entry.name} --force"
            yield Finding(entry.name, "problem", f"{build.python} can't be run", fix)
