"""SHA-256 of files and folders, cached until they are written or replaced."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from pathlib import Path

from ..errors import WeightsError

__all__ = ["file_digest", "folder_digest", "is_weights", "path_digest"]

#: What libraries leave beside weights and change at every run.
_NOT_WEIGHTS = (".lock", ".pyc", ".tmp", ".log", ".incomplete")
_CHUNK = 2**20


def path_digest(path: Path) -> str:
    """Return the digest of a user's own file or folder.

    Raises
    ------
    WeightsError
        It can't be read.
    """
    try:
        return folder_digest(path) if path.is_dir() else file_digest(path)
    except OSError as error:
        msg = f"the weights {path} can't be read: {error}. Check the path and its permissions"
        raise WeightsError(msg) from error


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; cached until the file is written or replaced."""
    return _digest(str(path), _state(path))


def folder_digest(folder: Path) -> str:
    """Return a SHA-256 over the names and contents of a folder's files; cached like a file's.

    What libraries leave beside weights at every run (locks, logs, bytecode) is ignored.
    """
    states = tuple((name, _state(folder / name)) for name in _names_in(folder))
    return _digest_of_files(str(folder), states)


def _names_in(folder: Path) -> list[str]:
    """Return the sorted relative paths of the weights in a folder; links are followed."""
    names: list[str] = []
    seen: set[str] = set()
    for top, folders, files in os.walk(folder, followlinks=True):
        folders.sort()  # the same order everywhere, also for what is linked twice
        if os.path.realpath(top) in seen:  # a link to a folder above, or to one seen before
            folders.clear()
            continue
        seen.add(os.path.realpath(top))
        paths = [Path(top, name) for name in files]
        paths = [path for path in paths if path.is_file()]  # no links that lead nowhere, no pipes
        names += [str(path.relative_to(folder)) for path in paths]
    return sorted(name for name in names if is_weights(Path(name)))


def is_weights(path: Path) -> bool:
    """Return whether a file in a cache may hold weights; locks, logs and bytecode do not."""
    return not path.name.endswith(_NOT_WEIGHTS) and ".locks" not in path.parts


#: What changes when a file is written or replaced: inode, size, modification and change time.
_State = tuple[int, int, int, int]


def _state(path: Path) -> _State:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@functools.lru_cache(maxsize=256)
def _digest(path: str, state: _State) -> str:
    del state  # part of the cache's key
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@functools.lru_cache(maxsize=16)
def _digest_of_files(folder: str, states: tuple[tuple[str, _State], ...]) -> str:
    digests = [(name, _digest(os.path.join(folder, name), state)) for name, state in states]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()
