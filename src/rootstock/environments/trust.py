"""Whose code a worker runs: a warning where anybody could have put something else there."""

from __future__ import annotations

import stat
import warnings
from typing import TYPE_CHECKING, Optional

from ..errors import InsecureWarning

if TYPE_CHECKING:
    from pathlib import Path

    from ..data import EnvironmentFile
    from ..root import Root

__all__ = ["open_to_all", "warn_if_open"]


def warn_if_open(file: EnvironmentFile, root: Optional[Root]) -> None:
    """Warn if everybody on this machine can change the file, or the environments of its root.

    A worker runs that code as the user. A group's maintainers are trusted: that is what a group is
    for. Folders with the sticky bit (``/tmp``) let nobody change what is another's.
    """
    places = [file.path, file.path.parent]
    places += [] if root is None else [layer.path / "envs" for layer in root.layers]
    bad = next((place for place in places if open_to_all(place)), None)
    if bad is not None:
        warnings.warn(
            f"{bad} can be changed by everybody on this machine, who could so run code as you: "
            f"chmod -R o-w {bad}",
            InsecureWarning,
            stacklevel=4,
        )


def open_to_all(path: Path) -> bool:
    """Tell if everybody may change a file, or what is in a folder."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return bool(mode & stat.S_IWOTH) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)
