"""What a maintainer does to a root besides building: make it, add files, go back, clean up."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import secrets
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..environments import builds as g
from ..environments.discovery import environment_files, read_by_name
from ..environments.environment_file import read_environment_file
from ..environments.lockfile import metadata_digest
from ..environments.weights import forget, records
from ..errors import ConfigurationError, EnvironmentFileError, RootError, UnknownNameError
from ..settings.config import user_path
from ..settings.root import Root, maintaining, writing
from ..support.files import copy_atomically
from ..support.suggestions import did_you_mean, similar_names

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..environments.environment_file import EnvironmentFile
    from ..support.progress import Progress

__all__ = [
    "Generation",
    "Leftover",
    "add_files",
    "collect",
    "history",
    "init_root",
    "plan_collection",
    "rollback",
    "uninstall",
]

#: Days that an environment which is not the current one is kept, for jobs that still run in it.
_KEEP_DAYS = 30.0
_DAY = 86_400.0
_TRASH = ".trash-"


def init_root(root: Root, group: Optional[str] = None) -> Root:
    """Make the folders of a root.

    Parameters
    ----------
    root : Root
        Where.
    group : str, optional
        A group that maintains it together: it may write everywhere, everyone else may read.

    Returns
    -------
    Root
        The same, as it is now.

    Raises
    ------
    RootError
        It can't be written, or the group can't be given to it.
    UnknownNameError
        There is no such group.
    """
    if root.user_layer is not None:
        msg = f"{root.path} is there and you may not write to it: its maintainer has made it"
        raise RootError(msg)
    root.create()
    if group is None:
        return root
    try:
        number = grp.getgrnam(group).gr_gid
    except KeyError as error:
        known = [entry.gr_name for entry in grp.getgrall()]
        similar = similar_names(group, known)
        msg = f"there is no group {group!r}{did_you_mean(similar)}"
        raise UnknownNameError(msg, group, similar) from error
    shared = [root.path, root.environments, root.path / "envs", root.cache, root.home, root.records]
    with writing(root.path):
        root.records.mkdir(exist_ok=True)
        for folder in shared:
            try:
                os.chown(folder, -1, number)
                folder.chmod(stat.S_ISGID | 0o775)
            except PermissionError as error:
                msg = (
                    f"{folder} can't be given to group {group!r}: be a member of it and "
                    f"own the folder. Its owner runs: chgrp {group} {folder} && chmod 2775 {folder}"
                )
                raise RootError(msg) from error
    return root


def add_files(root: Root, paths: Iterable[Path], *, replace: bool = False) -> list[EnvironmentFile]:
    """Copy environment files into the root; all of them are read before one is copied.

    Parameters
    ----------
    root : Root
        Where.
    paths : iterable of Path
        Files called ``NAME_env.py``, or folders of such.
    replace : bool
        Also in place of a file of that name with another content.

    Raises
    ------
    EnvironmentFileError
        One is missing, broken or not called so.
    ConfigurationError
        There is another file of that name.
    """
    found = [pair for path in paths for pair in _named(path)]
    for name, path in found:
        read_environment_file(path, name, "file")
        target = root.writable.source(name)
        if target.exists() and not replace and target.read_bytes() != path.read_bytes():
            msg = f"{target} is there and differs from {path}: use --force to replace it"
            raise ConfigurationError(msg)
    root.create()
    with maintaining(root), writing(root.writable.environments):
        for name, path in found:
            target = root.writable.source(name)
            if not (target.exists() and target.samefile(path)):
                copy_atomically(path, target)
    return [read_by_name(name, root) for name, _ in found]


def _named(path: Path) -> list[tuple[str, Path]]:
    path = user_path(path)
    if path.is_dir():
        found = environment_files(path)
        if not found:
            msg = f"there is no file NAME_env.py in {path}"
            raise EnvironmentFileError(msg)
        return list(found.items())
    name = path.name.removesuffix("_env.py")
    if name in ("", path.name):
        msg = f"{path} must be called NAME_env.py: NAME is what model strings begin with"
        raise EnvironmentFileError(msg)
    return [(name, path)]


@dataclass(frozen=True)
class Generation:
    """One built environment.

    Attributes
    ----------
    key : str
        Its name.
    current : bool
        Whether new workers use it.
    marker : Marker
        By what, when, where, by whom and from what it was built.
    """

    key: str
    current: bool
    marker: g.Marker


def history(file: EnvironmentFile, root: Root) -> list[Generation]:
    """Return the built environments of a file, the user's own first, newest first."""
    return [one for layer in root.layers for one in _generations(file, layer)]


def _generations(file: EnvironmentFile, layer: Root) -> list[Generation]:
    folder = layer.generations(file)
    now = g.current(folder)
    return [
        Generation(path.name, now is not None and path == now[0], marker)
        for path, marker in g.history(folder)
    ]


def rollback(file: EnvironmentFile, root: Root, key: Optional[str] = None) -> Generation:
    """Make an older environment the current one, and go back to its file and lock.

    The file and lock that were there are kept beside as ``NAME_env.py.before-rollback``.

    Parameters
    ----------
    file : EnvironmentFile
        Of which environment.
    root : Root
        Where.
    key : str, optional
        Which one; by default the newest that is older than the current one.

    Raises
    ------
    ConfigurationError
        There is none to go back to.
    """
    found = _generations(file, root.writable)
    if key is not None:
        chosen = [one for one in found if one.key == key]
    else:
        position = next((n for n, one in enumerate(found) if one.current), -1)
        chosen = found[position + 1 : position + 2]
    if not chosen:
        msg = f"{file.name} has no older environment" if key is None else f"no environment {key}"
        msg += (
            f" in {root.writable.path}; there are {', '.join(one.key for one in found) or 'none'}"
        )
        raise ConfigurationError(msg)
    folder = root.writable.generations(file) / chosen[0].key
    with maintaining(root), writing(root.writable.environments):
        targets = [(folder / g.LOCK, root.writable.lock(file))]
        if chosen[0].marker.metadata != metadata_digest(file) and file.origin != "file":
            targets.append((folder / g.SOURCE, root.writable.source(file.name)))
        for source, target in targets:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(target, target.with_name(f"{target.name}.before-rollback"))
            copy_atomically(source, target)
        g.switch(root.writable.generations(file), chosen[0].key)
    return Generation(chosen[0].key, current=True, marker=chosen[0].marker)


def uninstall(file: EnvironmentFile, root: Root) -> list[Path]:
    """Remove an environment: what was built, its file and lock, and its weights' records.

    Returns
    -------
    list of Path
        What was removed. Weights themselves stay in the cache; ``gc`` collects them.

    Raises
    ------
    ConfigurationError
        It is not in the layer that is written to.
    """
    own = root.writable
    folder = own.generations(file)
    paths = [folder, own.lock(file), *([own.source(file.name)] if file.origin != "file" else [])]
    there = [path for path in paths if path.exists()]
    if not there:
        msg = f"{file.name} is not installed in {own.path}: there is nothing to remove"
        raise ConfigurationError(msg)
    with writing(own.path):
        for path in there:
            _remove(path)
    forget(root, file.name)
    return there


def _remove(path: Path) -> None:
    """Remove a file or folder; a folder is out of the way at once."""
    if path.is_symlink() or not path.is_dir():
        path.unlink()
        return
    trash = path.with_name(f"{_TRASH}{secrets.token_hex(4)}")
    path.rename(trash)
    shutil.rmtree(trash)


@dataclass(frozen=True)
class Leftover:
    """One thing that can be removed.

    Attributes
    ----------
    path : Path
        Where.
    why : str
        Why nobody needs it.
    """

    path: Path
    why: str


def plan_collection(
    root: Root, days: float = _KEEP_DAYS, *, caches: bool = False
) -> list[Leftover]:
    """Return what nobody needs any more in the layer that is written to.

    Parameters
    ----------
    root : Root
        Where.
    days : float
        Environments that are not the current one are kept so long, for jobs that still run in them
        and for a rollback. Those that a process of this machine uses are always kept.
    caches : bool
        Also folders of the cache that no record names: weights that were never fetched by
        ``rootstock fetch``, but downloaded on first use, are among them.
    """
    own = root.writable
    used = _used_interpreters()
    plan = []
    for folder in _folders(own.path / "envs"):
        plan += [Leftover(path, "left by a killed build") for path in g.leftovers(folder)]
        plan += [Leftover(path, "was being removed") for path in folder.glob(f"{_TRASH}*")]
        now = g.current(folder)
        for path, _ in g.history(folder):
            old = time.time() - path.stat().st_mtime > days * _DAY
            if (now is None or path != now[0]) and old and not _is_used(path, used):
                plan.append(Leftover(path, f"not current, older than {days:g} days"))
    plan += [Leftover(p, "was being removed") for p in (own.path / "envs").glob(f"{_TRASH}*")]
    if caches:
        plan += _unreferenced(root)
    return plan


def _unreferenced(root: Root) -> list[Leftover]:
    named = {
        (layer.path / file.path)
        for layer, record in records(root)
        if layer.path == root.writable.path
        for file in record.files
    }
    return [
        Leftover(folder, "a cache that no record names")
        for folder in _folders(root.writable.cache)
        if not any(folder in path.parents for path in named)
    ]


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError:
        return []


def _used_interpreters() -> set[str]:
    """Return what the visible processes of this machine run."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.add((process / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace"))
    return found


def _is_used(folder: Path, used: set[str]) -> bool:
    return any(command.startswith(f"{folder}{os.sep}") for command in used)


def collect(plan: Iterable[Leftover], progress: Optional[Progress] = None) -> list[Leftover]:
    """Remove what a plan names; return what could not be removed.

    Interrupted, it can be run again.
    """
    failed = []
    for item in plan:
        if progress is not None:
            progress.line(f"removing {item.path}")
        try:
            _remove(item.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            failed.append(Leftover(item.path, errno.errorcode.get(error.errno or 0, str(error))))
    return failed
