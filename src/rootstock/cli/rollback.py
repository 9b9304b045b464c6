"""``rootstock rollback NAME [BUILD]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import typer

from .options import ClusterOption, JsonOption, RootOption, complete_names
from .output import reporting_errors, show

__all__ = ["rollback_command"]


@dataclass(frozen=True)
class RolledBack:
    """The build that is current now.

    Attributes
    ----------
    name : str
        Name of the environment.
    build : str
        The build id.
    """

    name: str
    build: str

    def renderable(self) -> str:
        """Return a line."""
        return (
            f"{self.name} uses build {self.build} again, with its file and lock; running workers "
            "keep theirs"
        )


def rollback_command(
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    build: Optional[str] = typer.Argument(None, help="Build id; by default the previous build."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Go back to an earlier build, with its environment file and lock."""
    with reporting_errors():
        from ..environments.discovery import find_environment
        from ..maintenance.rollback import rollback
        from ..settings.root import find_root

        entry = rollback(find_environment(name, find_root(root, cluster)), build)
        show(RolledBack(name, entry.id), as_json)
