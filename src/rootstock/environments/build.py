"""Lock and build an environment in a staging directory; one rename publishes the build."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
import socket
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..errors import BuildError, StartupError
from ..settings.root import writing
from ..support.files import copy_atomically
from ..support.progress import default_progress
from . import builds
from .build_lock import build_lock
from .builds import Build, BuildRecord, BuiltEnvironment
from .discovery import find_environment
from .lockfile import Change, Lock, changes, make_lock, read_lock, write_project
from .options import DEFAULT_OPTIONS, BuildOptions
from .site_packages import check_requirements, link_site_packages
from .uv import UNCONSTRAINED, Uv, uv_flags

if TYPE_CHECKING:
    from ..support.progress import Progress
    from .environment import Environment, EnvironmentPaths
    from .environment_file import EnvironmentFile

__all__ = [
    "build_environment",
    "find_build",
    "find_lock",
    "installed_digest",
    "interpreter_for",
    "is_up_to_date",
    "prepare_environment",
    "relock",
]


def prepare_environment(
    environment: Environment, progress: Optional[Progress] = None
) -> BuiltEnvironment:
    """Return the build of an environment; build it if there is none or it is out of date.

    Parameters
    ----------
    environment : Environment
        A file of the catalogue is copied into the root once it is built. Without a root it is the
        environment that ``uv run --script`` would use.
    progress : Progress, optional
        Shows the progress of a build; by default chosen to suit stderr.

    Raises
    ------
    BuildError
        uv failed.
    RootError
        The root can't be written, or its disk is full.
    """
    if environment.root is None:
        return _prepare_script(environment, progress or default_progress())
    build = find_build(environment)
    if build is not None:
        return BuiltEnvironment(environment, build)
    return build_environment(environment, progress)


def build_environment(
    environment: Environment,
    progress: Optional[Progress] = None,
    options: BuildOptions = DEFAULT_OPTIONS,
) -> BuiltEnvironment:
    """Lock and build an environment, unless the current build is up to date.

    Parameters
    ----------
    environment, progress
        As for :func:`prepare_environment`; the environment has a root.
    options : BuildOptions
        Options of the build; ``upgrade`` and ``force`` build even if the current one is up to date.
    """
    progress = progress or default_progress()
    paths = environment.writable
    paths.layer.create()
    plain = BuildOptions(offline=options.offline, find_links=options.find_links)
    started = time.monotonic()
    title = f"building the environment of {environment.name}"
    with progress.task(title) as task, build_lock(paths, progress):
        # another process may have built it while this one waited for the lock
        build = find_build(environment) if options == plain else None
        if build is None:
            build = _build(environment, Uv(progress, paths.layer.umask), options)
        environment = _copy_into_root(environment)
        seconds = time.monotonic() - started
        task.summary = f"the environment of {environment.name} is ready ({seconds:.0f} s)"
    return BuiltEnvironment(environment, build)


def relock(
    environment: Environment,
    progress: Optional[Progress] = None,
    options: BuildOptions = DEFAULT_OPTIONS,
) -> tuple[Lock, tuple[Change, ...]]:
    """Create or update the lock of an environment without building it.

    Returns
    -------
    Lock
        The new lock.
    tuple of Change
        The differences from the previous lock.
    """
    progress = progress or default_progress()
    paths = environment.writable
    paths.layer.create()
    with (
        progress.task(f"locking {environment.name}"),
        build_lock(paths, progress),
        builds.staging_directory(paths.layer, paths.builds) as staging,
    ):
        before = find_lock(environment)
        lock = make_lock(environment, staging, Uv(progress, paths.layer.umask), options)
        _copy_into_root(environment)
    return lock, changes(before, lock)


def _copy_into_root(environment: Environment) -> Environment:
    """Copy a file of the catalogue into the root, where it belongs to the maintainer."""
    if environment.file.origin != "catalogue" or environment.root is None:
        return environment
    paths = environment.writable
    if not paths.source.exists():
        with writing(paths.source), paths.layer.writable_by_group():
            copy_atomically(environment.file.path, paths.source)
    return find_environment(environment.name, environment.root)


def find_lock(environment: Environment) -> Optional[Lock]:
    """Return the lock that applies: the user layer's, or else the root's."""
    locks = (read_lock(paths.lock) for paths in environment.layers)
    return next((lock for lock in locks if lock is not None), None)


def find_build(environment: Environment) -> Optional[Build]:
    """Return the build that a calculator uses now, or None if one has to be made.

    Reads a few small files and runs no program, because it is a part of every start. A build has to
    match the file's requirements and the lock, except in a root that the user can only read: its
    maintainer decides when an edited file is built, and the current build is used until then.
    """
    for paths in environment.layers:
        build = builds.current_build(paths.builds)
        if build is None:
            continue
        if environment.is_maintained_elsewhere(paths) or is_up_to_date(
            environment.file, paths, build.record
        ):
            return build
    return None


def is_up_to_date(file: EnvironmentFile, paths: EnvironmentPaths, record: BuildRecord) -> bool:
    """Return whether a build was made from the file's requirements and this layer's lock."""
    lock = read_lock(paths.lock)
    return (
        lock is not None
        and record.requirements == file.requirements_digest
        and record.lock == lock.digest
    )


def interpreter_for(environment: Environment, build_id: str) -> Path:
    """Return the interpreter of a pinned build.

    Raises
    ------
    StartupError
        The root, or uv's cache, no longer has that build.
    """
    if environment.root is None:
        return _pinned_script_interpreter(environment, build_id)
    build = builds.find_by_id(environment, build_id)
    if build is not None:
        return build.python
    current = find_build(environment)
    has = f"has build {current.id}" if current is not None else "has no build"
    msg = (
        f"build {build_id} of the environment {environment.name!r}, which this run uses, is gone: "
        f"{environment.root.path} on {socket.gethostname()} {has}. Make a new calculator to use "
        f"what is there, or restore the build (rootstock history {environment.name}); machines "
        "with a root of their own need the same build (rootstock pack, rootstock unpack)"
    )
    raise StartupError(msg)


def _pinned_script_interpreter(environment: Environment, build_id: str) -> Path:
    """Return the interpreter in uv's cache; uv names any Python if it has none for the script."""
    python = _script_interpreter(environment.file, Uv(default_progress()))
    current = _script_build(python)
    if current.id != build_id:
        msg = (
            f"build {build_id} of {environment.file.path}, which this run uses, is gone: uv's "
            f"cache has {current.id}. Make a new calculator to prepare the environment again"
        )
        raise StartupError(msg)
    return python


def installed_digest(environment: Environment, build_id: str) -> str:
    """Return the SHA-256 of names and versions of the packages that uv keeps for a script.

    Raises
    ------
    StartupError
        uv's cache no longer has that build.
    """
    return _packages_digest(_pinned_script_interpreter(environment, build_id).parent.parent)


def _build(environment: Environment, uv: Uv, options: BuildOptions) -> Build:
    paths = environment.writable
    with builds.staging_directory(paths.layer, paths.builds) as staging:
        lock = _lock_to_build(environment, staging, uv, options)
        build_id = _build_id(lock)
        existing = builds.read_build(paths.builds / build_id)
        if existing is not None and not options.force:  # built before
            return builds.switch(paths, build_id)
        if existing is not None:
            build_id = f"{build_id}-{secrets.token_hex(2)}"  # running workers keep theirs
        folder = staging / "environment"
        _fill(folder, lock, environment, uv, options)
        record = _record(build_id, lock, uv)
        return builds.publish(folder, paths, record, (environment.file.path, lock.path))


def _lock_to_build(environment: Environment, staging: Path, uv: Uv, options: BuildOptions) -> Lock:
    """Return the existing lock; make a new one if it does not fit or `options` require it."""
    lock = find_lock(environment)
    chosen = (options.python, options.torch_backend, options.system_site_packages)
    resolve = options.upgrade or chosen != (None, None, None)
    if lock is None or lock.requirements != environment.file.requirements_digest or resolve:
        return make_lock(environment, staging, uv, options)
    write_project(environment.file, staging)
    target = environment.writable.lock
    if lock.path != target:  # the shared root's: the same pins
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_atomically(lock.path, target)
        lock = read_lock(target) or lock
    return lock


def _fill(
    folder: Path, lock: Lock, environment: Environment, uv: Uv, options: BuildOptions
) -> None:
    """Make a virtual environment and install the lock's packages."""
    file = environment.file
    purpose = f"building the environment of {file.path}"
    staging = folder.parent
    uv.run(["venv", "--relocatable", "--python", lock.python, folder], purpose, directory=staging)
    python = builds.interpreter(folder)
    if lock.site is not None:
        with environment.writable.layer.writable_by_group():
            link_site_packages(folder, Path(lock.python))
    command = ["pip", "sync", "--python", str(python), "--compile-bytecode"]
    command += ["--preview-features", "pylock"]  # avoids the warning that it is new
    command += uv_flags(options)
    uv.run([*command, lock.path], purpose, directory=staging, variables=UNCONSTRAINED)
    if lock.site is not None:
        unmet = set(check_requirements(python)) - set(check_requirements(Path(lock.python)))
        if unmet:
            msg = (
                f"with the packages of {lock.python} the environment of {file.path} would not "
                f"work: {'; '.join(sorted(unmet))}. Leave those packages to the environment with "
                "site-packages = [...] in [tool.rootstock]"
            )
            raise BuildError(msg)


def _build_id(lock: Lock) -> str:
    """Hash the inputs of a build, as canonical JSON."""
    inputs = {"layout": 1, "metadata": lock.requirements, "lock": lock.digest}
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]


def _record(build_id: str, lock: Lock, uv: Uv) -> BuildRecord:
    return BuildRecord(
        id=build_id,
        requirements=lock.requirements,
        lock=lock.digest,
        python=lock.python,
        uv=uv.version(),
        host=socket.gethostname(),
        user=builds.user_name(),
        built=dt.datetime.now(dt.timezone.utc).isoformat(timespec="microseconds"),
        platform=sysconfig.get_platform(),
    )


def _prepare_script(environment: Environment, progress: Progress) -> BuiltEnvironment:
    """Have uv sync the environment that ``uv run --script FILE`` uses."""
    file = environment.file
    with progress.task(f"preparing uv's environment of {file.path}"):
        uv = Uv(progress)
        purpose = f"preparing the environment of {file.path}"
        uv.run(["sync", "--script", file.path, "--quiet"], purpose, directory=file.path.parent)
        build = _script_build(_script_interpreter(file, uv))
    return BuiltEnvironment(environment, build)


def _script_build(python: Path) -> Build:
    """Return uv's environment of a script as a build, named by its folder and its packages."""
    folder = python.parent.parent
    return Build(folder, BuildRecord(f"{folder.name}-{_packages_digest(folder)[:16]}"))


def _packages_digest(folder: Path) -> str:
    names = sorted(path.name for path in folder.glob("lib/python*/site-packages/*.dist-info"))
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def _script_interpreter(file: EnvironmentFile, uv: Uv) -> Path:
    purpose = f"looking for the interpreter of {file.path}"
    output = uv.run(["python", "find", "--script", file.path], purpose, directory=file.path.parent)
    python = Path(output.strip())
    if not python.is_file():
        msg = (
            f"uv reported {python} as the interpreter of {file.path}, but there is no such file: "
            f"run 'uv sync --script {file.path}'"
        )
        raise BuildError(msg)
    return python
