"""``rootstock init``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import typer

from .options import ClusterOption, JsonOption, RootOption
from .output import reporting_errors, show

__all__ = ["init_command"]


@dataclass(frozen=True)
class Made:
    """A root that is ready to be filled.

    Attributes
    ----------
    root : str
        Path of the root.
    group : str or None
        The group that maintains it.
    """

    root: str
    group: Optional[str]

    def renderable(self) -> str:
        """Return the next command."""
        group = f" for group {self.group}" if self.group else ""
        return (
            f"{self.root} is ready{group}. Next: rootstock install chgnet --root {self.root}\n"
            f"Users choose it with ROOTSTOCK_ROOT={self.root}, or a config file sets it."
        )


def init_command(
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    shared: Optional[str] = typer.Option(
        None, "--shared", help="Unix group that maintains the root; all users may read it."
    ),
    as_json: bool = JsonOption,
) -> None:
    """Create a root directory (by default your own)."""
    with reporting_errors():
        from ..maintenance.initialise import initialise_root
        from ..settings.root import find_root

        made = initialise_root(find_root(root, cluster), shared)
        show(Made(str(made.path), shared), as_json)
