"""The map: where everything lies on disk, and which root is meant. Runs nothing.

::

    {root}/
      environments/   chgnet_env.py, pylock.chgnet.toml       sources and their locks
      envs/           chgnet/<key>/                            built environments
                      chgnet/current -> <key>
      cache/          huggingface/, mace/, ...                 weights (XDG_CACHE_HOME)
      home/           what insists on $HOME
      records/        weights/, verified/                      what was fetched and verified

A root that the user can only read has an *overlay*: a folder of the user's own with the same layout
that comes before it. What the user builds, fetches and what libraries write at run time goes there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

from .clusters import cluster_root
from .config import default_overlay, default_root, private_cache, read_config, user_path
from .errors import ConfigurationError, RootError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .data import EnvironmentFile

__all__ = ["Root", "find_root", "maintaining", "replace_file", "writing"]

_FILE_SUFFIX = "_env.py"


@dataclass(frozen=True)
class Root:
    """A root folder and the paths inside it.

    Attributes
    ----------
    path : Path
        Absolute.
    overlay : Path or None
        The user's own layer, if they can't write here.
    """

    path: Path
    overlay: Optional[Path] = None

    @property
    def own(self) -> Root:
        """The layer that is written to."""
        return self if self.overlay is None else Root(self.overlay)

    @property
    def layers(self) -> tuple[Root, ...]:
        """The layers from the top down: what is found first counts."""
        return (self,) if self.overlay is None else (Root(self.overlay), Root(self.path))

    @property
    def environments(self) -> Path:
        """Environment files and their locks."""
        return self.path / "environments"

    @property
    def cache(self) -> Path:
        """Weights and what else libraries keep in caches."""
        return self.path / "cache"

    @property
    def home(self) -> Path:
        """What workers see as HOME."""
        return self.path / "home"

    @property
    def work(self) -> Path:
        """Working directory of workers: fixed, and never the caller's."""
        return self.own.home if self.own.home.is_dir() else Path("/")

    @property
    def records(self) -> Path:
        """What was fetched, and what was verified where."""
        return self.path / "records"

    @property
    def private(self) -> Path:
        """Compiled kernels and settings of libraries: each user's own, whoever's root it is."""
        return private_cache()

    @property
    def is_group_shared(self) -> bool:
        """Whether a group maintains it: its folders hand their group down (the setgid bit)."""
        try:
            return bool(self.environments.stat().st_mode & stat.S_ISGID)
        except OSError:
            return False

    def files(self) -> dict[str, tuple[Path, str]]:
        """Return path and origin of the environment files by name. Reads names alone."""
        found = {}
        for layer in reversed(self.layers):
            origin = "root" if layer.path == self.path else "overlay"
            for name, path in environment_files(layer.environments).items():
                found[name] = (path, origin)
        return found

    def generations(self, file: EnvironmentFile) -> Path:
        """Return the folder with the built environments of a file."""
        if file.origin != "file":
            return self.path / "envs" / file.name
        # A file outside of the root: two of the same name must not meet.
        digest = hashlib.sha256(os.fsencode(file.path.resolve())).hexdigest()[:12]
        return self.path / "envs" / f"{file.name}@{digest}"

    def source(self, name: str) -> Path:
        """Return where the root keeps the environment file of that name."""
        return self.environments / f"{name}{_FILE_SUFFIX}"

    def lock(self, file: EnvironmentFile) -> Path:
        """Return the lock of an environment file: beside it, if it lies in the root."""
        # uv takes pylock.toml or pylock.<name>.toml, where the name has no dot
        lock = f"pylock.{file.name.replace('.', '_')}.toml"
        return (self.generations(file) if file.origin == "file" else self.environments) / lock

    def usage(self) -> dict[str, int]:
        """Return the size in bytes of each cache and of each environment's folder.

        Looks at every file: minutes on a large root on a parallel file system, so only on request.
        """
        places = [place for place in (self.cache, self.path / "envs") if place.is_dir()]
        folders = [folder for place in places for folder in place.iterdir()]
        return {str(folder.relative_to(self.path)): _size(folder) for folder in sorted(folders)}

    def create(self) -> None:
        """Make the folders of the layer that is written to.

        Raises
        ------
        RootError
            They can't be made or written; says what to do.
        """
        if self.overlay is not None:
            self.own.create()
            return
        with writing(self.path):
            for folder in (self.environments, self.path / "envs", self.cache, self.home):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path / "envs", os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def _size(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(path)
        for name in names
    )


def environment_files(folder: Path) -> dict[str, Path]:
    """Return ``{name}_env.py`` files of a folder by name; empty if there is no such folder."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {
        name.removesuffix(_FILE_SUFFIX): folder / name
        for name in names
        if name.endswith(_FILE_SUFFIX) and name != _FILE_SUFFIX and not name.startswith(".")
    }


def find_root(
    root: Optional[Union[str, os.PathLike[str], Root]] = None, cluster: Optional[str] = None
) -> Root:
    """Decide which root is meant.

    In this order: `root` or `cluster` (never both), the variable ``ROOTSTOCK_ROOT``, the config
    file, the per-user default.

    Raises
    ------
    ConfigurationError
        Both were given, or the config file is broken.
    UnknownNameError
        Nobody knows the cluster.
    """
    if isinstance(root, Root) and cluster is None:
        return root
    if root is not None and cluster is not None:
        msg = f"root={root!s} and cluster={cluster!r} were both given: keep one"
        raise ConfigurationError(msg)
    if root is not None and not isinstance(root, Root):
        if not os.fspath(root):
            msg = "root is empty: give a folder, or leave it out for the default"
            raise ConfigurationError(msg)
        return _at(Path(root))
    if cluster is not None:
        return _at(cluster_root(cluster, read_config()))
    return _at(_usual_root())


def _usual_root() -> Path:
    """Return the root that is meant when nobody says which."""
    named = os.environ.get("ROOTSTOCK_ROOT")
    if named:
        return Path(named)
    config = read_config()
    if config.root is not None:
        return config.root
    if config.cluster is not None:
        return cluster_root(config.cluster, config)
    return default_root()


def _at(path: Path) -> Root:
    path = user_path(path)
    return Root(path, default_overlay(path) if _is_read_only(path) else None)


def _is_read_only(path: Path) -> bool:
    """Tell if there is a root that this user can read and not write."""
    folder = path / "environments"
    try:
        return folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space, or choose another root",
    errno.EDQUOT: "your quota is used up: free some space, or choose another root",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "you may not write there",
    errno.EPERM: "you may not write there",
    errno.ENOTDIR: "a part of the path is a file",
    errno.EEXIST: "there is a file of that name",
}


def replace_file(source: Path, target: Path) -> None:
    """Copy a file to its place, by one rename: nobody reads half of it."""
    new = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, new)
    new.replace(target)


@contextlib.contextmanager
def maintaining(root: Root) -> Iterator[None]:
    """Let what is made in a root that a group maintains be writable for the group."""
    if not root.own.is_group_shared:
        yield
        return
    before = os.umask(0o002)
    try:
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` into a :class:`RootError` that says what to do.

    Parameters
    ----------
    path : Path
        What is being written; for the message.
    """
    try:
        yield
    except RootError:
        raise
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "")
        msg = (
            f"{path} can't be written: {advice or error}. Choose another root with root=..., the "
            "variable ROOTSTOCK_ROOT or the config file, or ask the maintainer of this one to run "
            "'rootstock install'."
        )
        raise RootError(msg) from error
