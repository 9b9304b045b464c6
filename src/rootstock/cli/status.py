"""``rootstock status``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .options import ClusterOption, JsonOption, RootOption
from .output import CHECK_FAILED, reporting_errors, show, table

if TYPE_CHECKING:
    from rich.table import Table

    from ..maintenance.status import Health

__all__ = ["status_command"]


@dataclass(frozen=True)
class Status:
    """The state of what is installed and fetched.

    Attributes
    ----------
    root : str
        The root.
    user_layer : str or None
        The user's own layer over it.
    entries : tuple of Health
        Environments and models.
    """

    root: str
    user_layer: Optional[str]
    entries: tuple[Health, ...]

    def renderable(self) -> Table:
        """Return a table."""
        title = self.root + (f" and {self.user_layer}" if self.user_layer else "")
        rows = ((e.name, e.state, e.detail, e.fix) for e in self.entries)
        return table(title, ("name", "state", "detail", "fix"), rows, keep_first=True)


def status_command(
    check: bool = typer.Option(False, help="End with exit code 9 if something needs a fix."),
    deep: bool = typer.Option(False, help="Also compare the contents of weights."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Show the state of environments and weights, and the commands that fix problems."""
    with reporting_errors():
        from ..maintenance.status import status
        from ..settings.root import find_root

        target = find_root(root, cluster)
        entries = tuple(status(target, deep=deep))
        user_layer = None if target.user_layer is None else str(target.user_layer)
        show(Status(str(target.path), user_layer, entries), as_json)
        if check and any(entry.fix for entry in entries):
            raise typer.Exit(CHECK_FAILED)
