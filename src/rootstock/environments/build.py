"""Environment file -> built environment: lock first, then aside, marker last, one rename."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import secrets
import shutil
import socket
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from .builds import BuiltEnvironment
from .options import BuildOptions
from ..errors import BuildError
from ..support.progress import Progress, default_progress
from ..settings.root import maintaining, writing
from ..support.files import copy_atomically
from . import builds as g
from .lockfile import Change, Lock, changes, make_lock, metadata_digest, read_lock, write_project
from .discovery import read_by_name
from .site_packages import check_requirements, lay_over
from .uv import UNCONSTRAINED, Uv, uv_flags

if TYPE_CHECKING:
    from .environment_file import EnvironmentFile
    from ..settings.root import Root

__all__ = ["find_built", "find_lock", "fits", "install", "is_ready", "prepare", "relock"]

_PLAIN = BuildOptions()


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
    ready = find_built(file, root)
    return ready if ready is not None else install(file, root, progress)


def is_ready(file: EnvironmentFile, root: Root) -> bool:
    """Tell if the environment is built and fits its file and lock; runs nothing."""
    return find_built(file, root) is not None


def install(
    file: EnvironmentFile,
    root: Root,
    progress: Optional[Progress] = None,
    options: BuildOptions = _PLAIN,
) -> BuiltEnvironment:
    """Lock and build, unless that is done already. See :func:`prepare`.

    Parameters
    ----------
    file, root, progress
        See there.
    options : BuildOptions
        How; ``upgrade`` and ``force`` build even where something is ready.
    """
    progress = progress or default_progress()
    root.create()
    folder = root.writable.generations(file)
    started = time.monotonic()
    progress.begin(f"building the environment of {file.name}")
    summary = ""
    try:
        with maintaining(root), g.building(folder, progress):
            anew = options != BuildOptions(offline=options.offline, find_links=options.find_links)
            built = None if anew else find_built(file, root)  # perhaps another process built it
            if built is None:
                built = _build(file, root, Uv(progress), options)
            built = dataclasses.replace(built, file=_adopt(file, root))
        summary = f"the environment of {file.name} is ready ({time.monotonic() - started:.0f} s)"
    finally:
        progress.end(summary)
    return built


def relock(
    file: EnvironmentFile,
    root: Root,
    progress: Optional[Progress] = None,
    options: BuildOptions = _PLAIN,
) -> tuple[Lock, tuple[Change, ...]]:
    """Make or refresh the lock of an environment without building it.

    Returns
    -------
    Lock
        The new one.
    tuple of Change
        What is different from the one before.
    """
    progress = progress or default_progress()
    root.create()
    progress.begin(f"locking {file.name}")
    try:
        with maintaining(root), g.scratch(root.writable.generations(file)) as workshop:
            before = find_lock(file, root)
            lock = make_lock(file, root.writable.lock(file), workshop, Uv(progress), options)
            _adopt(file, root)
    finally:
        progress.end("")
    return lock, changes(before, lock)


def _adopt(file: EnvironmentFile, root: Root) -> EnvironmentFile:
    """Copy a file of the catalogue into the root, where it is the maintainer's from then on."""
    if file.origin != "catalogue":
        return file
    target = root.writable.source(file.name)
    if not target.exists():
        with writing(target):
            copy_atomically(file.path, target)
    return read_by_name(file.name, root)


def find_lock(file: EnvironmentFile, root: Root) -> Optional[Lock]:
    """Return the lock that counts: the user's own, or the root's."""
    locks = (read_lock(layer.lock(file)) for layer in root.layers)
    return next((lock for lock in locks if lock is not None), None)


def find_built(file: EnvironmentFile, root: Root) -> Optional[BuiltEnvironment]:
    """Return the environment that a calculator uses now, or None if one has to be built.

    Reads a few small files and runs nothing: this is every start but the first. What was built has
    to fit the file's metadata and the lock. Only in a root that the user can just read the current
    environment counts as it is: the maintainer decides when an edited file is built.
    """
    for layer in root.layers:
        found = g.current(layer.generations(file))
        if found is None:
            continue
        folder, marker = found
        theirs = root.user_layer is not None and layer.path == root.path and file.origin == "root"
        if theirs or fits(file, layer, marker):
            return BuiltEnvironment(file, g.interpreter(folder), marker.key)
    return None


def fits(file: EnvironmentFile, layer: Root, marker: g.Marker) -> bool:
    """Tell if an environment was built from this metadata and the lock of this layer."""
    lock = read_lock(layer.lock(file))
    return lock is not None and (marker.metadata, marker.lock) == (
        metadata_digest(file),
        lock.digest,
    )


def _build(file: EnvironmentFile, root: Root, uv: Uv, options: BuildOptions) -> BuiltEnvironment:
    folder = root.writable.generations(file)
    with g.scratch(folder) as workshop:
        lock = _lock_to_build(file, root, workshop, uv, options)
        key = _key(lock)
        if g.read_marker(folder / key) is not None and options.force:
            key = f"{key}-{secrets.token_hex(2)}"  # running workers keep the one that they use
        if g.read_marker(folder / key) is not None:  # built before, for what the file says again
            return BuiltEnvironment(file, g.interpreter(g.switch(folder, key)), key)
        aside = workshop / "environment"
        _fill(aside, lock, file, uv, options)
        final = g.publish(aside, folder, _marker(key, lock, uv), (file.path, lock.path))
    return BuiltEnvironment(file, g.interpreter(final), key)


def _lock_to_build(
    file: EnvironmentFile, root: Root, workshop: Path, uv: Uv, options: BuildOptions
) -> Lock:
    """Return the lock to follow: the one that is there, as long as nobody asks for another."""
    own = root.writable.lock(file)
    lock = find_lock(file, root)
    chosen = (options.python, options.torch_backend, options.system_site_packages)
    anew = options.upgrade or chosen != (None, None, None)
    if lock is None or lock.metadata != metadata_digest(file) or anew:
        return make_lock(file, own, workshop, uv, options)
    write_project(file, workshop)
    if lock.path != own:  # the shared root's: the same pins
        with writing(own):
            own.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(lock.path, own)
        lock = read_lock(own) or lock
    return lock


def _fill(aside: Path, lock: Lock, file: EnvironmentFile, uv: Uv, options: BuildOptions) -> None:
    """Make a virtual environment and install what the lock says."""
    what = f"building the environment of {file.path}"
    workshop = aside.parent
    uv.run(["venv", "--relocatable", "--python", lock.python, aside], what, directory=workshop)
    python = g.interpreter(aside)
    if lock.site is not None:
        lay_over(aside, Path(lock.python))
    command = ["pip", "sync", "--python", str(python), "--compile-bytecode"]
    command += ["--preview-features", "pylock"]  # spares the warning that it is new
    command += uv_flags(options)
    uv.run([*command, lock.path], what, directory=workshop, variables=UNCONSTRAINED)
    if lock.site is not None:
        own = set(check_requirements(python)) - set(check_requirements(Path(lock.python)))
        if own:
            msg = (
                f"over {lock.python} the environment of {file.path} would not work: "
                f"{'; '.join(sorted(own))}. Leave those packages to the environment with "
                "site-packages = [...] in [tool.rootstock]"
            )
            raise BuildError(msg)


def _key(lock: Lock) -> str:
    """Hash what goes into an environment, as canonical JSON."""
    text = json.dumps({"layout": 1, "metadata": lock.metadata, "lock": lock.digest}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _marker(key: str, lock: Lock, uv: Uv) -> g.Marker:
    return g.Marker(
        key=key,
        metadata=lock.metadata,
        lock=lock.digest,
        python=lock.python,
        uv=uv.version(),
        host=socket.gethostname(),
        user=g.user_name(),
        built=dt.datetime.now(dt.timezone.utc).isoformat(timespec="microseconds"),
        platform=sysconfig.get_platform(),
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
