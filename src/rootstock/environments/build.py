"""Environment file -> built environment: lock first, then aside, marker last, one rename."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import getpass
import hashlib
import json
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..data import BuiltEnvironment
from ..errors import BuildError
from ..progress import Progress, default_progress
from ..root import writing
from . import generations as g
from .header import read_environment_file
from .lock import Lock, make_lock, metadata_digest, read_lock, write_project
from .uv import Uv

if TYPE_CHECKING:
    from ..data import EnvironmentFile
    from ..root import Root

__all__ = ["install", "is_ready", "prepare"]

#: What would make ``uv pip sync`` refuse a lock or change what it says: the lock was made with it.
_LOCKED_IN = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_BUILD_CONSTRAINT", "UV_TORCH_BACKEND")


def prepare(
    file: EnvironmentFile, root: Optional[Root], progress: Optional[Progress] = None
) -> BuiltEnvironment:
    """Return the environment of a file, building it if it is not there or no longer fits.

    Parameters
    ----------
    file : EnvironmentFile
        One of the catalogue is copied into the root once it is built.
    root : Root or None
        Where to build. None: uv's own cache of script environments, as ``uv run --script`` does.
    progress : Progress, optional
        Where a build shows how it goes; by default what fits stderr.

    Raises
    ------
    BuildError
        uv failed.
    RootError
        The root can't be written, or its disk is full.
    """
    if root is None:
        return _script_environment(file, progress or default_progress())
    ready = _ready(file, root)
    return ready if ready is not None else install(file, root, progress or default_progress())


def is_ready(file: EnvironmentFile, root: Root) -> bool:
    """Tell if the environment is built and fits its file and lock; runs nothing."""
    return _ready(file, root) is not None


def install(file: EnvironmentFile, root: Root, progress: Progress) -> BuiltEnvironment:
    """Lock and build, unless that is done already. See :func:`prepare`."""
    root.create()
    folder = root.generations(file)
    started = time.monotonic()
    progress.begin(f"building the environment of {file.name}")
    summary = ""
    try:
        with g.building(folder, progress):
            built = _ready(file, root)  # perhaps another process has built it meanwhile
            if built is None:
                built = _build(file, root, folder, Uv(progress))
            built = dataclasses.replace(built, file=_adopt(file, root))
        summary = f"the environment of {file.name} is ready ({time.monotonic() - started:.0f} s)"
    finally:
        progress.end(summary)
    return built


def _adopt(file: EnvironmentFile, root: Root) -> EnvironmentFile:
    """Copy a file of the catalogue into the root, where it is the maintainer's from then on."""
    if file.origin != "catalogue":
        return file
    target = root.source(file.name)
    if not target.exists():
        with writing(target):
            new = target.with_name(f".{target.name}.new")
            shutil.copyfile(file.path, new)
            new.replace(target)
    return read_environment_file(target, file.name, "root")


def _ready(file: EnvironmentFile, root: Root) -> Optional[BuiltEnvironment]:
    """Return the current environment if it was built from this metadata and this lock.

    Reads three small files and runs nothing: this is every start but the first.
    """
    found = g.current(root.generations(file))
    lock = read_lock(root.lock(file))
    if found is None or lock is None:
        return None
    folder, marker = found
    if (marker.metadata, marker.lock) != (metadata_digest(file), lock.digest):
        return None
    return BuiltEnvironment(file, g.interpreter(folder), marker.key)


def _build(file: EnvironmentFile, root: Root, folder: Path, uv: Uv) -> BuiltEnvironment:
    with g.scratch(folder) as workshop:
        lock = read_lock(root.lock(file))
        if lock is None or lock.metadata != metadata_digest(file):
            lock = make_lock(file, root.lock(file), workshop, uv)
        else:
            write_project(file, workshop)
        key = _key(lock)
        if g.read_marker(folder / key) is not None:  # built before, for what the file says again
            return BuiltEnvironment(file, g.interpreter(g.switch(folder, key)), key)
        aside = workshop / "environment"
        what = f"building the environment of {file.path}"
        uv.run(["venv", "--relocatable", "--python", lock.python, aside], what, directory=workshop)
        command = ["pip", "sync", "--python", str(g.interpreter(aside)), "--compile-bytecode"]
        command += ["--preview-features", "pylock"]  # spares the warning that it is new
        uv.run([*command, lock.path], what, directory=workshop, unset=_LOCKED_IN)
        final = g.publish(aside, folder, _marker(key, lock, uv))
    return BuiltEnvironment(file, g.interpreter(final), key)


def _key(lock: Lock) -> str:
    """Hash what goes into an environment, as canonical JSON."""
    text = json.dumps({"layout": 1, "metadata": lock.metadata, "lock": lock.digest}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _marker(key: str, lock: Lock, uv: Uv) -> g.Marker:
    user = ""
    with contextlib.suppress(KeyError, OSError):  # a user id without a name, in containers
        user = getpass.getuser()
    return g.Marker(
        key=key,
        metadata=lock.metadata,
        lock=lock.digest,
        python=lock.python,
        uv=uv.version(),
        host=socket.gethostname(),
        user=user,
        built=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
    )


def _script_environment(file: EnvironmentFile, progress: Progress) -> BuiltEnvironment:
    """Return the environment that ``uv run --script FILE`` itself would use."""
    progress.begin(f"preparing uv's environment of {file.path}")
    try:
        uv = Uv(progress)
        what = f"preparing the environment of {file.path}"
        uv.run(["sync", "--script", file.path, "--quiet"], what, directory=file.path.parent)
        found = uv.run(["python", "find", "--script", file.path], what, directory=file.path.parent)
    finally:
        progress.end()
    python = Path(found.strip())
    if not python.is_file():
        msg = f"uv names {python} as the interpreter of {file.path}, but it is not there"
        raise BuildError(msg)
    return BuiltEnvironment(file, python, python.parent.parent.name)
