"""``rootstock history NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

import typer

from .options import ClusterOption, JsonOption, RootOption, complete_names
from .output import reporting_errors, show, table

if TYPE_CHECKING:
    from rich.table import Table

    from ..maintenance.history import BuildEntry


__all__ = ["history_command"]


@dataclass(frozen=True)
class History:
    """The builds of an environment.

    Attributes
    ----------
    name : str
        Name of the environment.
    builds : tuple of BuildEntry
        Newest first.
    """

    name: str
    builds: tuple[BuildEntry, ...]

    def renderable(self) -> Union[Table, str]:
        """Return a table, or the next command."""
        if not self.builds:
            return f"{self.name} was never built here: rootstock install {self.name}"
        rows = (
            (
                entry.id,
                "current" if entry.current else "",
                entry.record.built[:16],
                f"{entry.record.user or '?'} on {entry.record.host}",
                f"Python {entry.record.python}, uv {entry.record.uv}",
            )
            for entry in self.builds
        )
        return table(self.name, ("build", "", "built (UTC)", "by", "with"), rows, keep_first=True)


def history_command(
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """List builds: when, by whom and with what; 'rollback' goes back to one."""
    with reporting_errors():
        from ..environments.discovery import find_environment
        from ..maintenance.history import history
        from ..settings.root import find_root

        environment = find_environment(name, find_root(root, cluster))
        show(History(name, tuple(history(environment))), as_json)
