"""``rootstock uninstall NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import typer

from .output import ClusterOption, JsonOption, RootOption, complete_names, reporting_errors, show

__all__ = ["uninstall"]


@dataclass(frozen=True)
class Removed:
    """What is gone.

    Attributes
    ----------
    paths : tuple of str
        Files and folders.
    """

    paths: tuple[str, ...]

    def renderable(self) -> str:
        """Return a line for each."""
        return "\n".join(f"removed {path}" for path in self.paths)


def uninstall(
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Remove an environment: builds, file, lock, records. Weights stay until 'gc --caches'."""
    with reporting_errors():
        from ..environments.discovery import read_by_name
        from ..maintenance.uninstall import uninstall as remove
        from ..settings.root import find_root

        place = find_root(root, cluster)
        gone = remove(read_by_name(name, place), place)
        show(Removed(tuple(map(str, gone))), as_json)
