"""Removing files and folders so that an interrupted removal leaves nothing half usable."""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["TRASH", "remove"]

#: Prefix of the names of folders that are being removed.
TRASH = ".trash-"


def remove(path: Path) -> None:
    """Remove a file or folder; a folder is renamed out of the way first."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    trash = path.with_name(f"{TRASH}{secrets.token_hex(4)}")
    path.rename(trash)
    shutil.rmtree(trash)
