"""Pins of builds that running processes use, so that ``rootstock gc`` keeps these builds.

Preparing a model pins its build for the process, and each session with a worker has a pin of its
own. A pin is a small file ``records/pins/*.json`` in the layer that holds the build. It counts
while its process lives on this machine, or, from another machine, for 30 days. Where the layer
can't be written there is no pin; ``gc`` keeps replaced builds for 30 days by default.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import socket
import time
from typing import TYPE_CHECKING, Optional

from ..support.files import write_atomically
from .builds import read_build

if TYPE_CHECKING:
    from pathlib import Path

    from ..settings.root import Layer
    from .environment import Environment

__all__ = ["Pin", "pin", "pin_for_process", "pinned_builds", "stale_pins"]

#: Seconds for which a pin of another machine counts.
_REMOTE_LIFETIME = 30 * 86_400.0


class Pin:
    """One process's use of a build.

    Parameters
    ----------
    path : Path or None
        The pin's file; None if it could not be written.
    """

    def __init__(self, path: Optional[Path]) -> None:
        self._path = path

    @property
    def is_held(self) -> bool:
        """Whether there is a pin on disk."""
        return self._path is not None

    def release(self) -> None:
        """Remove the pin; more than once does nothing."""
        path, self._path = self._path, None
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()

    def detach(self) -> None:
        """In a forked process: leave the parent's pin alone."""
        self._path = None


def pin(environment: Environment, build_id: str) -> Pin:
    """Pin a build for this process, where its layer can be written."""
    for paths in environment.layers:
        build = read_build(paths.builds / build_id)
        if build is None:
            continue
        folder = _folder(paths.layer)
        # relative: other users may reach the root by another path
        used = str(build.folder.relative_to(paths.layer.builds))
        content = {"host": socket.gethostname(), "pid": os.getpid(), "build": used}
        path = folder / f"{build_id}-{os.getpid()}-{secrets.token_hex(4)}.json"
        try:
            with paths.layer.writable_by_group():
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(path, json.dumps(content) + "\n")
        except OSError:  # a shared root, or a full disk: a run does not need its pin
            return Pin(None)
        return Pin(path)
    return Pin(None)


def pin_for_process(environment: Environment, build_id: str) -> None:
    """Pin a build until this process ends; once, however often it is called."""
    key = (tuple(paths.builds for paths in environment.layers), build_id)
    if key not in _of_process:
        _of_process[key] = pin(environment, build_id)


_of_process: dict[tuple[tuple[Path, ...], str], Pin] = {}


@atexit.register
def _release_all() -> None:
    while _of_process:
        _of_process.popitem()[1].release()


# a forked process neither owns nor removes the pins of its parent
os.register_at_fork(after_in_child=_of_process.clear)


def pinned_builds(layer: Layer) -> set[Path]:
    """Return the folders of builds in a layer that running processes use."""
    pins = ((path, _read(path)) for path in _paths(layer))
    live = (entry for path, entry in pins if entry and _is_live(path, entry))
    return {layer.builds / entry["build"] for entry in live}


def stale_pins(layer: Layer) -> list[Path]:
    """Return pins whose process is gone."""
    return [path for path in _paths(layer) if (entry := _read(path)) and not _is_live(path, entry)]


def _folder(layer: Layer) -> Path:
    return layer.records / "pins"


def _paths(layer: Layer) -> list[Path]:
    return sorted(_folder(layer).glob("*.json"))


def _read(path: Path) -> Optional[dict[str, str]]:
    try:
        entry = json.loads(path.read_bytes())
        return {"host": str(entry["host"]), "pid": str(entry["pid"]), "build": str(entry["build"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_live(path: Path, entry: dict[str, str]) -> bool:
    if entry["host"] != socket.gethostname():
        with contextlib.suppress(OSError):
            return time.time() - path.stat().st_mtime < _REMOTE_LIFETIME
        return False
    try:
        os.kill(int(entry["pid"]), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except OSError:  # another user's process
        return True
    return True
