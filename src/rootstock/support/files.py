"""Writing files so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["copy_atomically", "explain", "replacing", "write_atomically"]

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "your quota is used up; free some space",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.ENOENT: "the folder does not exist",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EISDIR: "it is a folder",
    errno.EEXIST: "a file of that name exists",
}


def explain(error: OSError) -> str:
    """Return what an ``OSError`` means to the person who asked for the file."""
    return _REASONS.get(error.errno or 0, str(error))


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` that takes its place by one rename if the block succeeds."""
    new = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield new
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def write_atomically(target: Path, text: str) -> None:
    """Write a UTF-8 text file; it is on disk before it takes its place."""
    with replacing(target) as new, new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def copy_atomically(source: Path, target: Path) -> None:
    """Copy a file's content to `target`."""
    with replacing(target) as new:
        shutil.copyfile(source, new)
