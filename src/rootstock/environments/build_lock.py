"""The lock on building in a folder. It avoids duplicate work; correctness does not need it.

Builds go into staging directories, and two builders of the same environment end with the same
build. Many project file systems lack ``flock``, so the lock is a file created with O_EXCL, which
its holder touches every few seconds. A lock that was not touched for a minute, measured by this
machine's clock alone, is taken over; that of a dead process of this machine is taken over at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import threading
import time
from typing import TYPE_CHECKING, Optional

from ..settings.root import writing
from .builds import staging_directories, staging_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..support.progress import Progress
    from .environment import EnvironmentPaths

__all__ = ["build_lock", "leftovers"]

#: Name of the lock file; versions since 0.3 share it, so it can't change.
_LOCK = ".lease"
#: Seconds between two touches by a builder; seconds without a touch after which it counts as dead.
_HEARTBEAT, _DEAD = 5.0, 60.0
#: Seconds without a touch after which a lock of another machine is stale, whatever its clock.
_OLD = 86_400.0


@contextlib.contextmanager
def build_lock(paths: EnvironmentPaths, progress: Progress) -> Iterator[None]:
    """Hold the lock on building an environment in a layer; wait for another holder."""
    builds = paths.builds
    with writing(builds), paths.layer.writable_by_group():
        builds.mkdir(parents=True, exist_ok=True)
        lock = builds / _LOCK
    with writing(builds):
        name = _acquire(lock, progress)
    stop = threading.Event()
    heartbeat = threading.Thread(target=_keep_touching, args=(lock, stop), daemon=True)
    heartbeat.start()
    try:
        for path in staging_directories(builds):  # whoever uses one holds this lock
            shutil.rmtree(path, ignore_errors=True)
        yield
    finally:
        stop.set()
        heartbeat.join()
        if _holder(lock) == name:
            lock.unlink(missing_ok=True)


def _keep_touching(lock: Path, stop: threading.Event) -> None:
    while not stop.wait(_HEARTBEAT):
        with contextlib.suppress(OSError):  # taken over: then both processes build
            os.utime(lock)


def leftovers(builds: Path) -> list[Path]:
    """Return the leftovers of killed builds; none while a live process builds there."""
    lock = builds / _LOCK
    if lock.exists() and not _is_dead(_holder(lock)):
        with contextlib.suppress(OSError):
            if time.time() - lock.stat().st_mtime < _OLD:
                return []
    return sorted([*staging_leftovers(builds), *builds.glob(f"{_LOCK}*")])


def _acquire(lock: Path, progress: Progress) -> str:
    name = json.dumps([socket.gethostname(), os.getpid(), secrets.token_hex(8)])
    patience = _Patience(progress)
    while True:
        try:
            descriptor = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            holder = _holder(lock)
            if _is_dead(holder) or patience.is_exhausted(lock, holder):
                _take_over(lock, holder)
            else:
                time.sleep(0.2)
        else:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(name)
            return name


class _Patience:
    """Decides when the holder of a lock has not touched it for too long."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last: Optional[tuple[str, int]] = None
        self._since = 0.0

    def is_exhausted(self, lock: Path, holder: str) -> bool:
        try:
            touched = (holder, os.stat(lock).st_mtime_ns)
        except FileNotFoundError:
            return False
        if self._last is None:
            self._progress.line(
                f"waiting for another process that builds this environment: {holder}"
            )
        if touched != self._last:
            self._last, self._since = touched, time.monotonic()
        return time.monotonic() - self._since > _DEAD


def _holder(lock: Path) -> str:
    try:
        return lock.read_text()
    except OSError:
        return ""


def _is_dead(holder: str) -> bool:
    """Return whether the holder was a process of this machine that has ended."""
    try:
        host, pid, _ = json.loads(holder)
        if host != socket.gethostname():
            return False
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (ValueError, TypeError, OSError):
        return False  # just being written, another user's, or unknown: the timeout decides
    return False


def _take_over(lock: Path, holder: str) -> None:
    """Remove a dead holder's lock, unless another process did so first."""
    removed = lock.with_name(f"{_LOCK}-{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):
        lock.rename(removed)
        if _holder(removed) != holder:  # a new holder's lock: put it back
            with contextlib.suppress(FileExistsError):
                os.link(removed, lock)
        removed.unlink()
