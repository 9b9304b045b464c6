"""Built environments on disk: marked last, switched by one rename; and who builds just now."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import shutil
import socket
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Optional

from ..errors import BuildError
from ..root import writing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ..progress import Progress

__all__ = [
    "LOCK",
    "SOURCE",
    "Marker",
    "building",
    "current",
    "history",
    "leftovers",
    "publish",
    "read_marker",
    "scratch",
    "switch",
    "user_name",
]

_MARKER = "rootstock.json"
_CURRENT = "current"
_LEASE = ".lease"
_ASIDE = ".building-"
#: Seconds between two signs of life of a builder, and without one after which it counts as dead.
_HEARTBEAT, _DEAD = 5.0, 60.0
#: A lease of another machine that was touched so long ago is nobody's, whatever its clock says.
_OLD = 86_400.0


@dataclass(frozen=True)
class Marker:
    """What a complete environment says of itself; its presence is what makes it complete.

    Attributes
    ----------
    key : str
        Hash of everything that went in; the folder's name.
    metadata : str
        Digest of the environment file's metadata.
    lock : str
        SHA-256 of the lock.
    python : str
        The Python that was asked for.
    uv, host, user, built : str
        By what, where, by whom and when it was built (ISO 8601, UTC).
    platform : str
        For which platform.
    """

    key: str
    metadata: str
    lock: str
    python: str
    uv: str
    host: str
    user: str
    built: str
    platform: str = ""


#: Copies of what it was built from, inside an environment: what a rollback goes back to.
SOURCE, LOCK = "rootstock_source.py", "rootstock_lock.toml"


def user_name() -> str:
    """Return who builds or fetches; empty for a user id without a name, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def interpreter(folder: Path) -> Path:
    """Return the interpreter of an environment folder."""
    return folder / "bin" / "python"


def read_marker(folder: Path) -> Optional[Marker]:
    """Return the marker of a complete environment, or None if it is none."""
    try:
        marker = Marker(**json.loads((folder / _MARKER).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
    return marker if os.access(interpreter(folder), os.X_OK) else None


def current(generations: Path) -> Optional[tuple[Path, Marker]]:
    """Return the environment in use, by the path that a later switch does not change."""
    try:
        folder = generations / (generations / _CURRENT).readlink()
    except OSError:
        return None
    marker = read_marker(folder)
    return None if marker is None else (folder, marker)


def history(generations: Path) -> list[tuple[Path, Marker]]:
    """Return the complete environments, newest first."""
    found = []
    with contextlib.suppress(OSError):
        for folder in generations.iterdir():
            marker = None if folder.is_symlink() else read_marker(folder)
            if marker is not None:
                found.append((folder, marker))
    return sorted(found, key=lambda item: item[1].built, reverse=True)


def publish(aside: Path, generations: Path, marker: Marker, sources: tuple[Path, Path]) -> Path:
    """Mark a finished environment, move it to its place and switch to it.

    Who comes second with the same key finds the first one's and uses that.

    Parameters
    ----------
    aside : Path
        The finished environment.
    generations : Path
        Folder that it belongs to.
    marker : Marker
        What it says of itself.
    sources : (Path, Path)
        Environment file and lock that it was built from.
    """
    final = generations / marker.key
    with writing(generations):
        for source, name in zip(sources, (SOURCE, LOCK)):
            shutil.copyfile(source, aside / name)
        text = json.dumps(asdict(marker), indent=2)
        with (aside / _MARKER).open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if final.exists() and read_marker(final) is None:
            shutil.rmtree(final)  # its interpreter is gone: of no use to anybody
        with contextlib.suppress(OSError):
            aside.rename(final)
        if read_marker(final) is None:
            msg = f"{final} could not be put in its place; build again"
            raise BuildError(msg)
    return switch(generations, marker.key)


def switch(generations: Path, key: str) -> Path:
    """Make the complete environment `key` the current one, by one rename; return its folder."""
    with writing(generations):
        link = generations / f".{_CURRENT}-{secrets.token_hex(4)}"
        link.symlink_to(key)
        link.replace(generations / _CURRENT)
    return generations / key


@contextlib.contextmanager
def scratch(generations: Path) -> Iterator[Path]:
    """Make a folder to build in, beside its final place; removed at the end if still there."""
    folder = generations / f"{_ASIDE}{secrets.token_hex(6)}"
    with writing(generations):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def building(generations: Path, progress: Progress) -> Iterator[None]:
    """Hold the lease on building in this folder; wait for who holds it now.

    The lease saves work and is not needed for correctness: builds go aside, and two of them end
    with the same environment. So no ``flock`` is trusted: the lease is a file made with O_EXCL,
    whose holder touches it every few seconds. One that nobody has touched for a minute (counted by
    this machine's clock alone) is taken over, one of a dead process of this machine at once.
    """
    with writing(generations):
        generations.mkdir(parents=True, exist_ok=True)
        lease = generations / _LEASE
        name = _acquire(lease, progress)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(lease, stop), daemon=True)
    heart.start()
    try:
        _sweep(generations)
        yield
    finally:
        stop.set()
        heart.join()
        if _holder(lease) == name:
            lease.unlink(missing_ok=True)


def _beat(lease: Path, stop: threading.Event) -> None:
    while not stop.wait(_HEARTBEAT):
        with contextlib.suppress(OSError):  # taken over: then the other one builds, too
            os.utime(lease)


def _sweep(generations: Path) -> None:
    """Remove what killed builders left; the holder of the lease is the only living one."""
    for left in generations.glob(f"{_ASIDE}*"):
        shutil.rmtree(left, ignore_errors=True)


def leftovers(generations: Path) -> list[Path]:
    """Return what killed builders left, unless somebody builds there just now."""
    lease = generations / _LEASE
    if lease.exists() and not _is_dead(_holder(lease)):
        with contextlib.suppress(OSError):
            if time.time() - lease.stat().st_mtime < _OLD:
                return []
    left = [*generations.glob(f"{_ASIDE}*"), *generations.glob(f"{_LEASE}*")]
    left += generations.glob(f".{_CURRENT}-*")
    return sorted(left)


def _acquire(lease: Path, progress: Progress) -> str:
    name = json.dumps([socket.gethostname(), os.getpid(), secrets.token_hex(8)])
    waited = _Patience(progress)
    while True:
        try:
            descriptor = os.open(lease, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            holder = _holder(lease)
            if _is_dead(holder) or waited.too_long(lease, holder):
                _take_away(lease, holder)
            else:
                time.sleep(0.2)
        else:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(name)
            return name


class _Patience:
    """Tells when the holder of a lease has shown no sign of life for too long."""

    def __init__(self, progress: Progress) -> None:
        self._say: Callable[[str], None] = progress.line
        self._seen: object = None
        self._since = 0.0

    def too_long(self, lease: Path, holder: str) -> bool:
        try:
            sign = (holder, os.stat(lease).st_mtime_ns)
        except FileNotFoundError:
            return False
        if self._seen is None:
            self._say(f"waiting for another process that builds this environment: {holder}")
        if sign != self._seen:
            self._seen, self._since = sign, time.monotonic()
        return time.monotonic() - self._since > _DEAD


def _holder(lease: Path) -> str:
    try:
        return lease.read_text()
    except OSError:
        return ""


def _is_dead(holder: str) -> bool:
    """Tell if the holder was a process of this machine that is gone."""
    try:
        host, pid, _ = json.loads(holder)
        if host != socket.gethostname():
            return False
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (ValueError, TypeError, OSError):
        return False  # just being written, another user's, or unknown: patience decides
    return False


def _take_away(lease: Path, holder: str) -> None:
    """Remove a dead holder's lease, unless somebody else was quicker."""
    mine = lease.with_name(f"{_LEASE}-{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):
        lease.rename(mine)
        if _holder(mine) != holder:  # not the dead one's: put it back
            with contextlib.suppress(FileExistsError):
                os.link(mine, lease)
        mine.unlink()
