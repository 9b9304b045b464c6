"""User settings: the config files and environment variables.

::

    # ~/.config/rootstock/config.toml, or the file that ROOTSTOCK_CONFIG names
    root = "/shared/rootstock"        # or: cluster = "mycluster"

    [clusters]
    mycluster = "/shared/rootstock"

A site puts the same settings into ``rootstock/config.toml`` below a folder of
``XDG_CONFIG_DIRS`` (``/etc/xdg`` by default); the user's own file wins, name by name.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import platformdirs

from ..errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "Config",
    "default_root",
    "default_user_layer",
    "private_cache",
    "read_config",
    "user_path",
]


@dataclass(frozen=True)
class Config:
    """Settings of the config files.

    Attributes
    ----------
    root : Path or None
        The default root.
    cluster : str or None
        The default cluster.
    clusters : mapping of str to Path
        Cluster names that users and sites have added.
    """

    root: Optional[Path] = None
    cluster: Optional[str] = None
    clusters: Mapping[str, Path] = field(default_factory=dict)


def user_path(named: Union[str, os.PathLike[str]], context: str = "") -> Path:
    """Return a user's path as an absolute one; `context` begins the error message.

    Raises
    ------
    ConfigurationError
        The path begins with ``~name`` for an unknown user, or holds a NUL character.
    """
    path = os.path.expanduser(os.fspath(named))
    if path.startswith("~") or "\0" in path:
        msg = (
            f"{context}{os.fspath(named)!r} is not a valid path: the user is unknown, or it holds "
            "a NUL character"
        )
        raise ConfigurationError(msg)
    return Path(os.path.abspath(path))


def default_root() -> Path:
    """Return the per-user root that applies when no other is configured."""
    return platformdirs.user_data_path("rootstock", appauthor=False)


def default_user_layer(root: Path) -> Path:
    """Return the folder of the user's own layer over a root that they can only read."""
    named = os.environ.get("ROOTSTOCK_USER_LAYER")
    if named:
        return user_path(named)
    digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:12]
    # the folder's name on disk since 0.3, so that existing layers are found
    folder = platformdirs.user_data_path("rootstock-overlays", appauthor=False)
    return folder / f"{root.name}-{digest}"


def private_cache() -> Path:
    """Return the folder for compiled kernels and settings, which are never shared."""
    return platformdirs.user_cache_path("rootstock", appauthor=False)


def read_config() -> Config:
    """Read the user's config file and the site's.

    Raises
    ------
    ConfigurationError
        A file can't be read, is not valid TOML or has an unknown setting.
    """
    merged: dict[str, Any] = {}
    clusters: dict[str, Path] = {}
    for path in _files():
        table = _read(path)
        clusters = {**_clusters(path, table.pop("clusters", {})), **clusters}
        if "root" in table and "cluster" in table:
            msg = f"{path} sets both root and cluster: keep one"
            raise ConfigurationError(msg)
        if not merged:  # a file that sets either wins over the ones after it
            merged = _checked(path, table)
    return Config(merged.get("root"), merged.get("cluster"), clusters)


def _files() -> Iterator[Path]:
    named = os.environ.get("ROOTSTOCK_CONFIG")
    if named:
        yield Path(named)
    else:
        yield platformdirs.user_config_path("rootstock", appauthor=False) / "config.toml"
    for folder in (os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
        if folder:
            yield Path(folder) / "rootstock" / "config.toml"


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        if str(path) == os.environ.get("ROOTSTOCK_CONFIG"):
            msg = f"ROOTSTOCK_CONFIG names {path}, which does not exist"
            raise ConfigurationError(msg) from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        msg = f"the config file {path} can't be read: {error}"
        raise ConfigurationError(msg) from error


def _clusters(path: Path, table: Any) -> dict[str, Path]:
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        msg = f"{path}: [clusters] must map names to folders, such as mycluster = '/shared/root'"
        raise ConfigurationError(msg)
    return {name: user_path(folder, f"{path}: ") for name, folder in table.items()}


def _checked(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    for name, value in table.items():
        if name not in ("root", "cluster") or not isinstance(value, str):
            msg = f"{path}: unknown setting {name} = {value!r}; known: root, cluster, [clusters]"
            raise ConfigurationError(msg)
    if "root" in table:
        return {"root": user_path(table["root"], f"{path}: ")}
    return table
