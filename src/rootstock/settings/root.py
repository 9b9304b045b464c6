"""Which root applies, and the paths in it. Runs no other program.

::

    {root}/
      environments/   chgnet_env.py, pylock.chgnet.toml       environment files and their locks
      envs/           chgnet/<build>/                          built environments
                      chgnet/current -> <build>
      cache/          huggingface/, mace/, ...                 weights (XDG_CACHE_HOME)
      home/           for libraries that insist on $HOME
      records/        weights/, verified/, pins/               records of weights, checks, use

A root that the user can only read gets a *user layer*: a folder of the user's own with the same
layout, which is searched first. What the user builds and fetches, and what libraries write at run
time, goes there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

from ..errors import ConfigurationError, RootError
from ..support.files import explain, umask
from .clusters import cluster_root
from .config import default_root, default_user_layer, private_cache, read_config, user_path

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Layer", "Root", "find_root", "writing"]

#: Umask that lets every maintainer of a group change the files.
_GROUP_UMASK = 0o002


@dataclass(frozen=True)
class Layer:
    """One folder with the layout of a root.

    Attributes
    ----------
    path : Path
        Absolute path of the folder.
    """

    path: Path

    @cached_property
    def environments(self) -> Path:
        """Environment files and their locks."""
        return self.path / "environments"

    @cached_property
    def builds(self) -> Path:
        """Built environments, a folder for each name."""
        return self.path / "envs"

    @cached_property
    def cache(self) -> Path:
        """Weights and other caches of libraries."""
        return self.path / "cache"

    @cached_property
    def home(self) -> Path:
        """HOME of the workers."""
        return self.path / "home"

    @cached_property
    def records(self) -> Path:
        """Records of fetched weights, verifications and builds in use."""
        return self.path / "records"

    @property
    def is_group_shared(self) -> bool:
        """Whether a group maintains the layer: new files inherit its group (setgid bit)."""
        try:
            return bool(self.environments.stat().st_mode & stat.S_ISGID)
        except OSError:
            return False

    @property
    def umask(self) -> int:
        """The umask for processes that write here; -1, as in ``Popen``, keeps the caller's."""
        return _GROUP_UMASK if self.is_group_shared else -1

    @contextlib.contextmanager
    def writable_by_group(self) -> Iterator[None]:
        """Make files that the block writes writable for the group that maintains the layer.

        The umask belongs to the whole process, so the block writes small files and nothing else.
        """
        if not self.is_group_shared:
            yield
            return
        with umask(_GROUP_UMASK):
            yield

    def usage(self) -> dict[str, int]:
        """Return the size in bytes of each cache and of each environment's folder.

        Looks at every file: minutes on a large root on a parallel file system, so only on request.
        """
        tops = [folder for folder in (self.cache, self.builds) if folder.is_dir()]
        folders = [folder for top in tops for folder in top.iterdir()]
        return {str(folder.relative_to(self.path)): _size(folder) for folder in sorted(folders)}

    def create(self) -> None:
        """Make the folders.

        Raises
        ------
        RootError
            They can't be made or written.
        """
        with writing(self.path):
            for folder in (self.environments, self.builds, self.cache, self.home):
                folder.mkdir(parents=True, exist_ok=True)
            if not os.access(self.builds, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@dataclass(frozen=True)
class Root:
    """A root: its own layer and, if the user can only read it, the user's layer.

    Attributes
    ----------
    path : Path
        Absolute path of the root's own layer.
    user_layer : Path or None
        Absolute path of the user's own layer, if they can't write to the root.
    """

    path: Path
    user_layer: Optional[Path] = None

    @cached_property
    def shared(self) -> Layer:
        """The root's own layer."""
        return Layer(self.path)

    @cached_property
    def writable(self) -> Layer:
        """The layer that everything is written to."""
        return Layer(self.path if self.user_layer is None else self.user_layer)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in the order in which they are searched."""
        return (self.shared,) if self.user_layer is None else (self.writable, self.shared)

    @property
    def is_read_only(self) -> bool:
        """Whether the user can only read the root's own layer."""
        return self.user_layer is not None

    @property
    def working_directory(self) -> Path:
        """Working directory of workers: fixed, and never the caller's."""
        home = self.writable.home
        return home if home.is_dir() else Path("/")

    @property
    def private(self) -> Path:
        """Compiled kernels and settings of libraries: each user's own, for every root."""
        return private_cache()

    def create(self) -> None:
        """Make the folders of the writable layer.

        Raises
        ------
        RootError
            They can't be made or written.
        """
        self.writable.create()

    def usage(self) -> dict[str, int]:
        """Return the sizes of the root's own layer, see :meth:`Layer.usage`."""
        return self.shared.usage()


def _size(path: Path) -> int:
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    return sum(
        os.lstat(os.path.join(folder, name)).st_size
        for folder, _, names in os.walk(path)
        for name in names
    )


def find_root(
    root: Optional[Union[str, os.PathLike[str], Root]] = None, cluster: Optional[str] = None
) -> Root:
    """Return the root that applies.

    In this order: `root` or `cluster` (never both), the variable ``ROOTSTOCK_ROOT``, the config
    file, the per-user default.

    Raises
    ------
    ConfigurationError
        Both were given, or the config file is broken.
    UnknownNameError
        No cluster has that name.
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
        return _root_at(Path(root))
    if cluster is not None:
        return _root_at(cluster_root(cluster, read_config()))
    return _root_at(_configured_root())


def _configured_root() -> Path:
    """Return the root that applies when the caller names none."""
    named = os.environ.get("ROOTSTOCK_ROOT")
    if named:
        return Path(named)
    config = read_config()
    if config.root is not None:
        return config.root
    if config.cluster is not None:
        return cluster_root(config.cluster, config)
    return default_root()


def _root_at(path: Path) -> Root:
    path = user_path(path)
    return Root(path, default_user_layer(path) if _is_read_only(Layer(path)) else None)


def _is_read_only(layer: Layer) -> bool:
    """Return whether the layer exists and this user can read but not write it."""
    folder = layer.environments
    try:
        return folder.is_dir() and not os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` about a file of a root into a :class:`RootError` with advice.

    Parameters
    ----------
    path : Path
        Named in the message.
    """
    try:
        yield
    except RootError:
        raise
    except OSError as error:
        msg = (
            f"{path} can't be written: {explain(error)}. Choose another root with root=..., the "
            "variable ROOTSTOCK_ROOT or the config file, or ask the maintainer of this one to run "
            "'rootstock install'."
        )
        raise RootError(msg) from error
