"""Writing files so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["copy_atomically", "explain", "replacing", "umask", "write_atomically"]

_umask_lock = threading.RLock()

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
    """Return a short reason for an ``OSError``, for error messages."""
    return _REASONS.get(error.errno or 0, str(error))


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    """Change the umask during the block, in one thread at a time.

    It belongs to the whole process: two threads that restored it in the wrong order would leave it
    changed.
    """
    with _umask_lock:
        before = os.umask(mask)
        try:
            yield
        finally:
            os.umask(before)


def _renew_lock_in_child() -> None:
    global _umask_lock  # noqa: PLW0603  another thread of the parent may have held it
    _umask_lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock_in_child)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a path beside `target`; rename it to `target` if the block succeeds."""
    new = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        yield new
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def write_atomically(target: Path, text: str) -> None:
    """Replace `target` by a UTF-8 text file, synced to disk before the rename."""
    with replacing(target) as new, new.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def copy_atomically(source: Path, target: Path) -> None:
    """Replace `target` by a copy of the content of `source`."""
    with replacing(target) as new:
        shutil.copyfile(source, new)
