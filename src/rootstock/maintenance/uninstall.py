"""Remove an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..environments.weights import forget
from ..errors import ConfigurationError
from ..settings.root import writing
from .removal import remove

if TYPE_CHECKING:
    from pathlib import Path

    from ..environments.environment import Environment

__all__ = ["uninstall"]


def uninstall(environment: Environment) -> list[Path]:
    """Remove an environment: its builds, file, lock, and its weights' records.

    Returns
    -------
    list of Path
        The removed files and folders. Weights stay in the cache; ``gc --caches`` removes them.

    Raises
    ------
    ConfigurationError
        It is not installed in the writable layer.
    """
    paths = environment.writable
    source = [paths.source] if environment.file.origin != "file" else []
    present = [path for path in (paths.builds, paths.lock, *source) if path.exists()]
    if not present:
        msg = f"{environment.name} is not installed in {paths.layer.path}: nothing to remove"
        raise ConfigurationError(msg)
    with writing(paths.layer.path):
        for path in present:
            remove(path)
    if environment.root is not None:
        forget(environment.root, environment.name)
    return present
