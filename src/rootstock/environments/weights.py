"""The files that a model loads: recorded when it is fetched, checked at every later start.

A record names each file with its size and SHA-256, relative to the root. With a record the worker
runs offline. For a root that the user can only read, each recorded file is linked into the user
layer. The folders there belong to the user, so libraries can write lock files beside the weights.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import quote

from ..errors import WeightsError
from ..settings.root import writing
from ..support.files import write_atomically
from .builds import user_name
from .digests import file_digest, is_weights, path_digest
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
    "find_record",
    "forget",
    "make_record",
    "records",
    "require_weights",
    "weights_digests",
    "write_record",
]


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
        kept = sorted(path for path in paths if now[path][0] > 0 and is_weights(path))
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


def weights_digests(
    root: Optional[Root],
    environment: str,
    argument: str,
    options: Any = None,
    opened: Optional[Iterable[str]] = None,
) -> Optional[dict[str, str]]:
    """Return the SHA-256 of a model's weights by path.

    They are the files and folders that `argument` and `options` name by absolute paths, and the
    recorded files of the model. Without a record, the files that loading the model opened in the
    root's caches take their place. All are read again when their state changed.

    Parameters
    ----------
    root : Root or None
        The root.
    environment, argument : str
        The model.
    options : dict, list or other value
        Further arguments of ``setup()``.
    opened : iterable of str, optional
        Files that loading the model opened.

    Returns
    -------
    dict of str to str, or None
        Empty if the weights ship with the package; None if they are not known, because they were
        neither fetched nor loaded.

    Raises
    ------
    WeightsError
        A user's own file or folder can't be read.
    """
    own = {text: path_digest(Path(text)) for text in _paths_in([argument, options])}
    if argument in own:
        return own
    entry = None if root is None else find_record(root, environment, argument)
    if entry is not None:
        layer, record = entry
        return {**own, **{file.path: _digest_now(layer, file) for file in record.files}}
    if opened is None:
        return own or None
    return {**own, **_digests_of_opened(root, opened)}


def _paths_in(value: Any) -> list[str]:
    """Return the strings in a nested value that are absolute paths of files or folders."""
    if isinstance(value, str):
        path = Path(value)
        exists = value and path.is_absolute() and (path.is_file() or path.is_dir())
        return [value] if exists else []
    if isinstance(value, Mapping):
        value = list(value.values())
    return [p for item in value for p in _paths_in(item)] if isinstance(value, list) else []


def _digest_now(layer: Layer, file: WeightsFile) -> str:
    try:
        return file_digest(layer.path / file.path)
    except OSError:  # gone: a calculator's construction says so
        return file.sha256


def _digests_of_opened(root: Optional[Root], opened: Iterable[str]) -> dict[str, str]:
    digests = {}
    for layer in () if root is None else root.layers:
        for path in map(Path, opened):
            if any(folder in path.parents for folder in (layer.cache, layer.home)):
                with contextlib.suppress(OSError):  # removed since
                    if is_weights(path) and path.stat().st_size > 0:
                        digests[str(path.relative_to(layer.path))] = file_digest(path)
    return digests
