"""What loading a model takes from disk: recorded once, checked ever after.

A record names each file with its size and SHA-256, relative to the root. With a record the worker
runs offline. In a root that the user can only read, the recorded files appear in the user's overlay
as links, one by one, in folders of the user's own: libraries that want to lock or write beside
their weights can do so there.
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
from ..settings.root import maintaining, writing
from .builds import user_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..settings.root import Root

__all__ = [
    "Snapshot",
    "WeightsFile",
    "WeightsRecord",
    "check",
    "digest",
    "expose_weights",
    "find_record",
    "forget",
    "records",
    "require_weights",
    "weights_provenance",
    "write_record",
]

#: What libraries leave beside weights and change at every run.
_NOT_WEIGHTS = (".lock", ".pyc", ".tmp", ".log", ".incomplete")
_CHUNK = 2**20


@dataclass(frozen=True)
class WeightsFile:
    """One file.

    Attributes
    ----------
    path : str
        Relative to the root.
    size : int
        In bytes.
    sha256 : str
        Of the content.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class WeightsRecord:
    """What loading a model took.

    Attributes
    ----------
    environment, argument : str
        Which model.
    key : str
        Of the environment that loaded it.
    files : tuple of WeightsFile
        None of them if the weights ship with a package.
    host, user, fetched : str
        Where, by whom and when (ISO 8601, UTC).
    """

    environment: str
    argument: str
    key: str
    files: tuple[WeightsFile, ...]
    host: str
    user: str
    fetched: str

    @property
    def model(self) -> str:
        """The model string."""
        return f"{self.environment}-{self.argument}" if self.argument else self.environment


def _folder(layer: Root, environment: str) -> Path:
    return layer.records / "weights" / environment


def _path(layer: Root, environment: str, argument: str) -> Path:
    name = quote(argument, safe="") or "default"
    if len(name) > 200:  # noqa: PLR2004  the longest file names have 255 bytes
        name = hashlib.sha256(name.encode()).hexdigest()
    return _folder(layer, environment) / f"{name}.json"


def _read(path: Path) -> Optional[WeightsRecord]:
    try:
        data = json.loads(path.read_bytes())
        files = tuple(WeightsFile(**entry) for entry in data.pop("files"))
        return WeightsRecord(files=files, **data)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def find_record(
    root: Root, environment: str, argument: str
) -> Optional[tuple[Root, WeightsRecord]]:
    """Return the record of a model and the layer that holds its files."""
    for layer in root.layers:
        record = _read(_path(layer, environment, argument))
        if record is not None:
            return layer, record
    return None


def records(root: Root) -> list[tuple[Root, WeightsRecord]]:
    """Return all records, each with its layer."""
    found = []
    for layer in root.layers:
        for path in sorted((layer.records / "weights").glob("*/*.json")):
            record = _read(path)
            if record is not None:
                found.append((layer, record))
    return found


def forget(root: Root, environment: str) -> None:
    """Remove an environment's records from the layer that is written to."""
    with writing(root.writable.path):
        for path in _folder(root.writable, environment).glob("*.json"):
            path.unlink()


def check(layer: Root, record: WeightsRecord, *, deep: bool = False) -> list[str]:
    """Return what is wrong with the recorded files, a sentence each.

    Parameters
    ----------
    layer : Root
        That holds them.
    record : WeightsRecord
        What they were.
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
            problems.append(f"{path} has {size} bytes, {file.size} were fetched")
        elif deep and digest(path) != file.sha256:
            problems.append(f"{path} has another content than was fetched")
    return problems


def require_weights(root: Root, environment: str, argument: str) -> bool:
    """Tell if the model's weights were fetched.

    Raises
    ------
    WeightsError
        They were, and are no longer what they were.
    """
    found = find_record(root, environment, argument)
    if found is None:
        return False
    layer, record = found
    problems = check(layer, record)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        msg = (
            f"the weights of {record.model!r}, fetched {record.fetched} by {record.user}, are not "
            f"what they were: {problems[0]}{more}. Fetch them again where there is a network: "
            f"rootstock fetch {record.model} --root {layer.path}"
        )
        raise WeightsError(msg)
    return True


class Snapshot:
    """The caches of a layer at one moment; what loading a model added is told from it."""

    def __init__(self, layer: Root) -> None:
        self._layer = layer
        self._before = self._look()

    def _look(self) -> dict[Path, tuple[int, int]]:
        found = {}
        for top in (self._layer.cache, self._layer.home):
            for folder, _, names in os.walk(top):
                for name in names:
                    path = Path(folder, name)
                    with contextlib.suppress(OSError):  # a link that leads nowhere
                        status = path.stat()
                        found[path] = (status.st_size, status.st_mtime_ns)
        return found

    def taken(self, opened: Iterable[str]) -> tuple[WeightsFile, ...]:
        """Return what appeared, changed or was opened since."""
        now = self._look()
        paths = {path for path, status in now.items() if self._before.get(path) != status}
        paths |= {Path(name) for name in opened} & set(now)
        kept = sorted(
            path
            for path in paths
            if now[path][0] > 0
            and not path.name.endswith(_NOT_WEIGHTS)
            and ".locks" not in path.parts
        )
        return tuple(
            WeightsFile(str(path.relative_to(self._layer.path)), now[path][0], digest(path))
            for path in kept
        )


def write_record(
    root: Root, environment: str, argument: str, key: str, files: tuple[WeightsFile, ...]
) -> WeightsRecord:
    """Write the record of a model into the layer that is written to; return it."""
    user = user_name()
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    record = WeightsRecord(environment, argument, key, files, socket.gethostname(), user, now)
    path = _path(root.writable, environment, argument)
    with maintaining(root), writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_text(json.dumps(asdict(record), indent=2) + "\n")
        new.replace(path)
    return record


def expose_weights(root: Root, environment: str, argument: str) -> None:
    """Make recorded files of a read-only root appear in the overlay; just look if they do."""
    found = None if root.user_layer is None else find_record(root, environment, argument)
    if found is None or found[0].path != root.path:
        return
    shared, record = found
    with writing(root.writable.path):
        for file in record.files:
            link, target = root.writable.path / file.path, shared.path / file.path
            if not link.exists():
                link.parent.mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(FileNotFoundError):
                    link.unlink()  # it led nowhere
                with contextlib.suppress(FileExistsError):  # another start was quicker
                    link.symlink_to(target)


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; computed once as long as the file stays what it is."""
    status = path.stat()
    return _digest(str(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _digest(path: str, size: int, modified: int) -> str:
    del size, modified  # they only tell one content from another
    found = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def weights_provenance(root: Optional[Root], environment: str, argument: str) -> Mapping[str, Any]:
    """Return the digests of a model's weights by path: recorded ones, or a user's own file."""
    own = Path(argument)
    if argument and own.is_absolute() and own.is_file():
        return {argument: digest(own)}
    found = None if root is None else find_record(root, environment, argument)
    return {} if found is None else {file.path: file.sha256 for file in found[1].files}
