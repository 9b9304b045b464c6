"""``rootstock uninstall NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import typer

from .options import ClusterOption, JsonOption, RootOption, complete_names
from .output import reporting_errors, show

__all__ = ["uninstall_command"]


@dataclass(frozen=True)
class Removed:
    """Removed files and folders.

    Attributes
    ----------
    paths : tuple of str
        Their paths.
    """

    paths: tuple[str, ...]

    def renderable(self) -> str:
        """Return a line for each."""
        return "\n".join(f"removed {path}" for path in self.paths)


def uninstall_command(
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Remove an environment: builds, file, lock, records. Weights stay until 'gc --caches'."""
    with reporting_errors():
        from ..environments.discovery import find_environment
        from ..maintenance.uninstall import uninstall
        from ..settings.root import find_root

        target = find_root(root, cluster)
        paths = uninstall(find_environment(name, target))
        show(Removed(tuple(map(str, paths))), as_json)
