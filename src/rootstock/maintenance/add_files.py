"""Copy environment files into a root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..environments.discovery import environment_files, find_environment
from ..environments.environment import FILE_SUFFIX
from ..environments.environment_file import check_settings, read_environment_file
from ..errors import ConfigurationError, EnvironmentFileError
from ..settings.config import user_path
from ..settings.root import writing
from ..support.files import copy_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..environments.environment import Environment
    from ..settings.root import Root

__all__ = ["add_files", "named_files"]


def add_files(root: Root, paths: Iterable[Path], *, replace: bool = False) -> list[Environment]:
    """Copy environment files into the writable layer; all are read before one is copied.

    Parameters
    ----------
    root : Root
        The root.
    paths : iterable of Path
        Files called ``NAME_env.py``, or folders of these files.
    replace : bool
        Also replace a file of the same name with different content.

    Raises
    ------
    EnvironmentFileError
        A file is missing, broken, has unknown settings, or is not called ``NAME_env.py``.
    ConfigurationError
        The root has another file of that name.
    """
    named = [pair for path in paths for pair in named_files(path)]
    layer = root.writable
    targets = {name: layer.environments / f"{name}{FILE_SUFFIX}" for name, _ in named}
    for name, path in named:
        check_settings(read_environment_file(path, name, "file"), strict=True)
        target = targets[name]
        if target.exists() and not replace and target.read_bytes() != path.read_bytes():
            msg = f"{target} exists and differs from {path}: use --force to replace it"
            raise ConfigurationError(msg)
    root.create()
    with writing(layer.environments), layer.writable_by_group():
        for name, path in named:
            target = targets[name]
            if not (target.exists() and target.samefile(path)):
                copy_atomically(path, target)
    return [find_environment(name, root) for name, _ in named]


def named_files(path: Path) -> list[tuple[str, Path]]:
    """Return the name and path of a file, or of each environment file in a folder.

    Raises
    ------
    EnvironmentFileError
        A folder has no such file, or the file is not called ``NAME_env.py``.
    """
    path = user_path(path)
    if path.is_dir():
        files = environment_files(path)
        if not files:
            msg = f"there is no file NAME{FILE_SUFFIX} in {path}: check the folder"
            raise EnvironmentFileError(msg)
        return list(files.items())
    name = path.name.removesuffix(FILE_SUFFIX)
    if name in ("", path.name):
        msg = f"{path} must be called NAME{FILE_SUFFIX}: model strings begin with NAME"
        raise EnvironmentFileError(msg)
    return [(name, path)]
