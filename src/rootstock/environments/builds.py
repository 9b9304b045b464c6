"""Built environments on disk. A record marks a complete build; one rename switches builds."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Optional

from ..errors import BuildError
from ..settings.root import writing
from ..support.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..settings.root import Layer
    from .environment import Environment, EnvironmentPaths

__all__ = [
    "LOCK_COPY",
    "SOURCE_COPY",
    "Build",
    "BuildRecord",
    "BuiltEnvironment",
    "all_builds",
    "current_build",
    "find_by_id",
    "interpreter",
    "publish",
    "read_build",
    "read_staged_record",
    "staging_directories",
    "staging_directory",
    "staging_leftovers",
    "switch",
    "user_name",
]

_RECORD = "rootstock.json"
_CURRENT = "current"
_STAGING = ".building-"
#: Copies of what a build was made from, inside the build: what a rollback restores.
SOURCE_COPY, LOCK_COPY = "rootstock_source.py", "rootstock_lock.toml"
#: Names on disk of the record's fields that have other names here.
_ON_DISK = {"id": "key", "requirements": "metadata"}


@dataclass(frozen=True)
class BuildRecord:
    """The record inside a built environment; its presence marks the build as complete.

    Attributes
    ----------
    id : str
        The build id: a hash of everything that the build was made from; also the folder's name.
    requirements : str
        Digest of the environment file's requirements.
    lock : str
        SHA-256 of the lock.
    python : str
        The requested Python: a version, or the path of an interpreter.
    uv, host, user, built : str
        uv's version; where, by whom and when it was built (ISO 8601, UTC).
    platform : str
        Platform of the build, as :func:`sysconfig.get_platform`.
    """

    id: str
    requirements: str = ""
    lock: str = ""
    python: str = ""
    uv: str = ""
    host: str = ""
    user: str = ""
    built: str = ""
    platform: str = ""

    @classmethod
    def parse(cls, text: bytes) -> BuildRecord:
        """Read a record's JSON.

        Raises
        ------
        ValueError, TypeError, AttributeError
            It is not the JSON of a record.
        """
        data = json.loads(text)
        fields = {name: data.pop(on_disk) for name, on_disk in _ON_DISK.items() if on_disk in data}
        return cls(**fields, **data)

    def text(self) -> str:
        """Return the record as JSON."""
        data: dict[str, Any] = {_ON_DISK.get(k, k): v for k, v in asdict(self).items()}
        return json.dumps(data, indent=2)


@dataclass(frozen=True)
class Build:
    """A complete built environment.

    Attributes
    ----------
    folder : Path
        Folder of the virtual environment.
    record : BuildRecord
        Sources, tools, time and machine of the build.
    """

    folder: Path
    record: BuildRecord

    @property
    def id(self) -> str:
        """The build id."""
        return self.record.id

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return interpreter(self.folder)


@dataclass(frozen=True)
class BuiltEnvironment:
    """An environment and the build that is in use.

    Attributes
    ----------
    environment : Environment
        Its file and paths; a file of the catalogue is the root's copy once it is built.
    build : Build
        The build.
    """

    environment: Environment
    build: Build

    @property
    def name(self) -> str:
        """Name of the environment."""
        return self.environment.name

    @property
    def python(self) -> Path:
        """The build's interpreter."""
        return self.build.python


def user_name() -> str:
    """Return the user's name; empty for a user id without a name, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def interpreter(folder: Path) -> Path:
    """Return the interpreter of an environment's folder."""
    return folder / "bin" / "python"


def read_build(folder: Path) -> Optional[Build]:
    """Return the complete build in a folder, or None."""
    try:
        record = BuildRecord.parse((folder / _RECORD).read_bytes())
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return Build(folder, record) if os.access(interpreter(folder), os.X_OK) else None


def current_build(builds: Path) -> Optional[Build]:
    """Return the current build, with its own path instead of that of the ``current`` link."""
    try:
        folder = builds / (builds / _CURRENT).readlink()
    except OSError:
        return None
    return read_build(folder)


def find_by_id(environment: Environment, build_id: str) -> Optional[Build]:
    """Return the build of that id from the first layer that has it."""
    builds = (read_build(paths.builds / build_id) for paths in environment.layers)
    return next((build for build in builds if build is not None), None)


def all_builds(builds: Path) -> list[Build]:
    """Return the complete builds of a folder, newest first."""
    complete = []
    with contextlib.suppress(OSError):
        for folder in builds.iterdir():
            build = None if folder.is_symlink() else read_build(folder)
            if build is not None:
                complete.append(build)
    return sorted(complete, key=lambda build: build.record.built, reverse=True)


def publish(
    staging: Path, paths: EnvironmentPaths, record: BuildRecord, sources: tuple[Path, Path]
) -> Build:
    """Mark a finished environment as complete, move it into place and switch to it.

    If another process published the same id first, its build is used.

    Parameters
    ----------
    staging : Path
        The finished environment.
    paths : EnvironmentPaths
        Paths of the environment in the layer that gets the build.
    record : BuildRecord
        The record to write.
    sources : (Path, Path)
        Environment file and lock that it was built from.
    """
    final = paths.builds / record.id
    with writing(paths.builds), paths.layer.writable_by_group():
        for source, name in zip(sources, (SOURCE_COPY, LOCK_COPY)):
            shutil.copyfile(source, staging / name)
        write_atomically(staging / _RECORD, record.text())
        if final.exists() and read_build(final) is None:
            shutil.rmtree(final)  # its interpreter is gone
        with contextlib.suppress(OSError):  # another process was first
            staging.rename(final)
        if read_build(final) is None:
            msg = f"the build could not be moved to {final}: run 'rootstock install' again"
            raise BuildError(msg)
    return switch(paths, record.id)


def switch(paths: EnvironmentPaths, build_id: str) -> Build:
    """Make the complete build `build_id` the current one, by one rename.

    The age of the replaced build counts from now: running and queued jobs may still need it.

    Raises
    ------
    BuildError
        The build is gone or incomplete; the current build stays.
    """
    builds = paths.builds
    build = read_build(builds / build_id)
    if build is None:
        msg = (
            f"{builds / build_id} was removed before it could become the current build: run "
            "'rootstock install' again"
        )
        raise BuildError(msg)
    replaced = current_build(builds)
    if replaced is not None:
        with contextlib.suppress(OSError):  # another maintainer's
            os.utime(replaced.folder)
    with writing(builds):
        link = builds / f".{_CURRENT}-{secrets.token_hex(4)}"
        link.symlink_to(build_id)
        link.replace(builds / _CURRENT)
    return build


def read_staged_record(staging: Path) -> BuildRecord:
    """Return the record of an environment in a staging directory.

    Raises
    ------
    OSError, ValueError, TypeError, AttributeError
        It has none.
    """
    return BuildRecord.parse((staging / _RECORD).read_bytes())


@contextlib.contextmanager
def staging_directory(layer: Layer, builds: Path) -> Iterator[Path]:
    """Create a staging directory inside `builds`; remove it at the end."""
    folder = builds / f"{_STAGING}{secrets.token_hex(6)}"
    with writing(builds), layer.writable_by_group():
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def staging_directories(builds: Path) -> list[Path]:
    """Return the staging directories of running and of killed builds."""
    return list(builds.glob(f"{_STAGING}*"))


def staging_leftovers(builds: Path) -> list[Path]:
    """Return staging directories and unfinished links, which killed builds leave."""
    return [*staging_directories(builds), *builds.glob(f".{_CURRENT}-*")]
