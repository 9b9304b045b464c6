"""Find and remove old builds, leftovers of killed builds, stale pins and unused caches."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..environments.build_lock import leftovers
from ..environments.builds import all_builds, current_build
from ..environments.pins import pinned_builds, stale_pins
from ..environments.weights import records
from ..errors import ConfigurationError
from .removal import TRASH, remove

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..settings.root import Root
    from ..support.progress import Progress

__all__ = ["Leftover", "collect", "plan_collection"]

#: Days for which a replaced build is kept, for jobs that still run in it.
_KEEP_DAYS = 30.0
_DAY = 86_400.0


@dataclass(frozen=True)
class Leftover:
    """A file or folder that can be removed.

    Attributes
    ----------
    path : Path
        The file or folder.
    reason : str
        Why it is not needed.
    """

    path: Path
    reason: str


def plan_collection(
    root: Root, days: float = _KEEP_DAYS, *, caches: bool = False
) -> list[Leftover]:
    """Return the files and folders of the writable layer that are no longer needed.

    Parameters
    ----------
    root : Root
        The root.
    days : float
        Days for which replaced builds are kept, for jobs that still run in them and for a rollback.
        Builds that a process of this machine runs in, or that a running process has pinned, are
        always kept.
    caches : bool
        Also return folders of the cache that no record names. These include weights that were
        downloaded at first use and not by ``rootstock fetch``.

    Raises
    ------
    ConfigurationError
        `days` is negative or no number.
    """
    if not days >= 0:
        msg = f"days={days:g} must be zero or more: the age from which replaced builds are removed"
        raise ConfigurationError(msg)
    layer = root.writable
    plan = []
    in_use = pinned_builds(layer)
    commands = _running_commands()
    for folder in _folders(layer.builds):
        plan += [Leftover(path, "left by a killed build") for path in leftovers(folder)]
        plan += [Leftover(path, "was being removed") for path in folder.glob(f"{TRASH}*")]
        current = current_build(folder)
        for build in all_builds(folder):
            path = build.folder
            old = time.time() - path.stat().st_mtime > days * _DAY
            used = path in in_use or _runs_in(path, commands)
            if build != current and old and not used:
                plan.append(Leftover(path, f"not current, older than {days:g} days"))
    plan += [Leftover(path, "was being removed") for path in layer.builds.glob(f"{TRASH}*")]
    plan += [Leftover(path, "its process is gone") for path in stale_pins(layer)]
    if caches:
        plan += _unreferenced_caches(root)
    return plan


def _unreferenced_caches(root: Root) -> list[Leftover]:
    layer = root.writable
    named = {
        layer.path / file.path
        for owner, record in records(root)
        if owner == layer
        for file in record.files
    }
    return [
        Leftover(folder, "a cache that no record names")
        for folder in _folders(layer.cache)
        if not any(folder in path.parents for path in named)
    ]


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []


def _running_commands() -> set[str]:
    """Return the programs of the visible processes of this machine."""
    commands = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (process / "cmdline").read_bytes().split(b"\0")[0]
            commands.add(command.decode(errors="replace"))
    return commands


def _runs_in(folder: Path, commands: set[str]) -> bool:
    return any(command.startswith(f"{folder}{os.sep}") for command in commands)


def collect(plan: Iterable[Leftover], progress: Optional[Progress] = None) -> list[Leftover]:
    """Remove the entries of a plan; return those that could not be removed.

    After an interruption it can be run again.
    """
    failed = []
    for item in plan:
        if progress is not None:
            progress.line(f"removing {item.path}")
        try:
            remove(item.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            failed.append(Leftover(item.path, errno.errorcode.get(error.errno or 0, str(error))))
    return failed
