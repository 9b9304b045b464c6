"""``rootstock status`` and ``rootstock doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .output import (
    CHECK_FAILED,
    ClusterOption,
    JsonOption,
    RootOption,
    reporting_errors,
    show,
    table,
)

if TYPE_CHECKING:
    from rich.table import Table

    from ..maintenance.doctor import Finding
    from ..maintenance.status import Health

__all__ = ["doctor", "status"]


@dataclass(frozen=True)
class Status:
    """What is installed and fetched.

    Attributes
    ----------
    root : str
        Which root.
    overlay : str or None
        The user's own layer.
    entries : tuple of Health
        A line each.
    """

    root: str
    user_layer: Optional[str]
    entries: tuple[Health, ...]

    def renderable(self) -> Table:
        """Return a table."""
        title = self.root + (f" and {self.user_layer}" if self.user_layer else "")
        rows = ((one.name, one.state, one.detail, one.command) for one in self.entries)
        return table(title, ("", "state", "", "what mends it"), rows)


def status(
    check: bool = typer.Option(False, help="End with 9 if anything is not well."),
    deep: bool = typer.Option(False, help="Compare the contents of weights, too."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Show what is healthy, stale or missing, and the command that mends it."""
    with reporting_errors():
        from ..maintenance.status import status as look
        from ..settings.root import find_root

        place = find_root(root, cluster)
        entries = tuple(look(place, deep=deep))
        user_layer = None if place.user_layer is None else str(place.user_layer)
        show(Status(str(place.path), user_layer, entries), as_json)
        if check and any(one.command for one in entries):
            raise typer.Exit(CHECK_FAILED)


@dataclass(frozen=True)
class Report:
    """What the doctor found.

    Attributes
    ----------
    findings : tuple of Finding
        A line each.
    """

    findings: tuple[Finding, ...]

    def renderable(self) -> Table:
        """Return a table."""
        rows = ((one.topic, one.level, one.detail, one.command) for one in self.findings)
        return table("", ("", "", "found", "what mends it"), rows)


def doctor(
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Look at uv, Pythons, disk, network, GPU, permissions; end with 9 if there is a problem."""
    with reporting_errors():
        from ..maintenance.doctor import doctor as look
        from ..settings.root import find_root

        findings = tuple(look(find_root(root, cluster)))
        show(Report(findings), as_json)
        if any(one.level == "problem" for one in findings):
            raise typer.Exit(CHECK_FAILED)
