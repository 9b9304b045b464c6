"""Warnings for code that other users of the machine could change."""

from __future__ import annotations

import stat
import warnings
from typing import TYPE_CHECKING

from ..errors import InsecureWarning

if TYPE_CHECKING:
    from pathlib import Path

    from .environment import Environment

__all__ = ["is_world_writable", "warn_if_world_writable"]


def warn_if_world_writable(environment: Environment) -> None:
    """Warn if any local user can change the environment file or the builds of its root.

    A worker runs that code as the user. A group's maintainers are trusted; in folders with the
    sticky bit (``/tmp``) users can't change each other's files.
    """
    path = environment.file.path
    paths = [path, path.parent, *(entry.layer.builds for entry in environment.layers)]
    bad = next((path for path in paths if is_world_writable(path)), None)
    if bad is not None:
        warnings.warn(
            f"{bad} is world-writable: any local user could run code as you. Fix: "
            f"chmod -R o-w {bad}",
            InsecureWarning,
            stacklevel=4,
        )


def is_world_writable(path: Path) -> bool:
    """Return whether every user may change a file, or the entries of a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IWOTH) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)
