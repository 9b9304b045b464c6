"""The files that a model loads: recorded when it is fetched, checked at every later start.

A record names each file with its size and SHA-256, relative to the root. With a record the worker
runs offline. For a root that the user can only read, each recorded file is linked into the user
layer. The folders there belong to the user, so libraries can write lock files beside the weights.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import json
import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import quote

from ..errors import WeightsError
from ..settings.root import writing
from ..support.files import write_atomically
from .builds import user_name
from .model_strings import model_string

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..settings.root import Layer, Root

__all__ = [
    "Snapshot",
    "WeightsFile",
    "WeightsRecord",
    "check",
    "expose_weights",
    "file_digest",
    "find_record",
    "folder_digest",
    "forget",
    "make_record",
    "records",
    "require_weights",
    "weights_digests",
    "write_record",
]

#: What libraries leave beside weights and change at every run.
_NOT_WEIGHTS = (".lock", ".pyc", ".tmp", ".log", ".incomplete")
_CHUNK = 2**20


@dataclass(frozen=True)
class WeightsFile:
    """A file that a model loads.

    Attributes
    ----------
    path : str
        Path relative to the root.
    size : int
        Size in bytes.
    sha256 : str
        SHA-256 of the content, hexadecimal.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class WeightsRecord:
    """The files that a model loaded when it was fetched.

    Attributes
    ----------
    environment, argument : str
        Name of the environment and argument ``model`` of ``setup()``.
    build : str
        Id of the build that loaded it.
    files : tuple of WeightsFile
        Empty if the weights ship with a package.
    host, user, fetched : str
        Where, by whom and when it was fetched (ISO 8601, UTC).
    """

    environment: str
    argument: str
    build: str
    files: tuple[WeightsFile, ...]
    host: str
    user: str
    fetched: str

    @property
    def model(self) -> str:
        """The model string."""
        return model_string(self.environment, self.argument)

    def as_dict(self) -> dict[str, Any]:
        """Return the record as it is on disk, where the build id is called ``key``."""
        data = asdict(self)
        data["key"] = data.pop("build")
        return data


def _folder(layer: Layer, environment: str) -> Path:
    return layer.records / "weights" / environment


def _path(layer: Layer, environment: str, argument: str) -> Path:
    name = quote(argument, safe="") or "default"
    if len(name) > 200:  # noqa: PLR2004  the longest file names have 255 bytes
        name = hashlib.sha256(name.encode()).hexdigest()
    return _folder(layer, environment) / f"{name}.json"


def _read(path: Path) -> Optional[WeightsRecord]:
    try:
        data = json.loads(path.read_bytes())
        files = tuple(WeightsFile(**entry) for entry in data.pop("files"))
        return WeightsRecord(files=files, build=data.pop("key"), **data)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def find_record(
    root: Root, environment: str, argument: str
) -> Optional[tuple[Layer, WeightsRecord]]:
    """Return the record of a model and the layer that holds its files."""
    for layer in root.layers:
        record = _read(_path(layer, environment, argument))
        if record is not None:
            return layer, record
    return None


def records(root: Root) -> list[tuple[Layer, WeightsRecord]]:
    """Return all records, each with its layer."""
    entries = []
    for layer in root.layers:
        for path in sorted((layer.records / "weights").glob("*/*.json")):
            record = _read(path)
            if record is not None:
                entries.append((layer, record))
    return entries


def forget(root: Root, environment: str) -> None:
    """Remove an environment's records from the writable layer."""
    with writing(root.writable.path):
        for path in _folder(root.writable, environment).glob("*.json"):
            path.unlink()


def check(layer: Layer, record: WeightsRecord, *, deep: bool = False) -> list[str]:
    """Return the problems of the recorded files, a sentence for each file.

    Parameters
    ----------
    layer : Layer
        The layer that holds them.
    record : WeightsRecord
        Sizes and digests of the files when they were fetched.
    deep : bool
        Compare the contents, not only the sizes.
    """
    problems = []
    for file in record.files:
        path = layer.path / file.path
        try:
            size = path.stat().st_size
        except OSError as error:
            problems.append(f"{path} is missing ({error.strerror})")
            continue
        if size != file.size:
            problems.append(f"{path} has {size} bytes instead of the recorded {file.size}")
        elif deep and file_digest(path) != file.sha256:
            problems.append(f"{path} does not match the recorded SHA-256")
    return problems


def require_weights(root: Root, environment: str, argument: str) -> bool:
    """Return whether the model's weights were fetched.

    Raises
    ------
    WeightsError
        They were fetched and are now missing or changed.
    """
    entry = find_record(root, environment, argument)
    if entry is None:
        return False
    layer, record = entry
    problems = check(layer, record)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        msg = (
            f"the weights of {record.model!r}, fetched {record.fetched} by {record.user}, are "
            f"missing or changed: {problems[0]}{more}. Fetch them again where there is a network: "
            f"rootstock fetch {record.model} --root {root.path}"
        )
        raise WeightsError(msg)
    return True


class Snapshot:
    """The files in a layer's caches at one moment, to find what loading a model added."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self._before = self._files()

    def _files(self) -> dict[Path, tuple[int, int]]:
        files = {}
        for top in (self._layer.cache, self._layer.home):
            for folder, _, names in os.walk(top):
                for name in names:
                    path = Path(folder, name)
                    with contextlib.suppress(OSError):  # a broken link
                        status = path.stat()
                        files[path] = (status.st_size, status.st_mtime_ns)
        return files

    def taken(self, opened: Iterable[str]) -> tuple[WeightsFile, ...]:
        """Return the weights that appeared, changed or were opened since; `opened` lists paths."""
        now = self._files()
        paths = {path for path, status in now.items() if self._before.get(path) != status}
        paths |= {Path(name) for name in opened} & set(now)
        kept = sorted(path for path in paths if now[path][0] > 0 and _is_weights(path))
        return tuple(
            WeightsFile(str(path.relative_to(self._layer.path)), now[path][0], file_digest(path))
            for path in kept
        )


def write_record(root: Root, record: WeightsRecord) -> None:
    """Write a record into the writable layer."""
    layer = root.writable
    path = _path(layer, record.environment, record.argument)
    with writing(path), layer.writable_by_group():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(record.as_dict(), indent=2) + "\n")


def make_record(
    environment: str, argument: str, build: str, files: tuple[WeightsFile, ...]
) -> WeightsRecord:
    """Return the record of a model that was fetched just now, by this user, on this machine."""
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    host, user = socket.gethostname(), user_name()
    return WeightsRecord(environment, argument, build, files, host, user, now)


def expose_weights(root: Root, environment: str, argument: str) -> None:
    """Link the recorded files of a read-only root into the user layer, unless they are there."""
    entry = find_record(root, environment, argument) if root.is_read_only else None
    if entry is None or entry[0] != root.shared:
        return
    shared, record = entry
    user = root.writable
    with writing(user.path):
        for file in record.files:
            link, target = user.path / file.path, shared.path / file.path
            if not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    link.unlink()  # a broken link
                with contextlib.suppress(FileExistsError):  # another process made it first
                    link.symlink_to(target)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file; cached as long as its state stays."""
    return _digest(str(path), _state(path))


def folder_digest(folder: Path) -> str:
    """Return a SHA-256 over the names and contents of a folder's files; cached like a file's.

    What libraries leave beside weights at every run (locks, logs, bytecode) does not count.
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
    return sorted(name for name in names if _is_weights(Path(name)))


def _is_weights(path: Path) -> bool:
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


def weights_digests(root: Optional[Root], environment: str, argument: str) -> dict[str, str]:
    """Return the SHA-256 of a model's weights by path: recorded files, or a user's own path.

    Raises
    ------
    WeightsError
        The user's own file or folder can't be read.
    """
    path = Path(argument)
    if argument and path.is_absolute() and (path.is_file() or path.is_dir()):
        try:
            return {argument: folder_digest(path) if path.is_dir() else file_digest(path)}
        except OSError as error:
            msg = f"the weights {path} can't be read: {error}"
            raise WeightsError(msg) from error
    entry = None if root is None else find_record(root, environment, argument)
    return {} if entry is None else {file.path: file.sha256 for file in entry[1].files}
