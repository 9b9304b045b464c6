"""``rootstock history NAME`` and ``rootstock rollback NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .output import (
    ClusterOption,
    JsonOption,
    RootOption,
    complete_names,
    reporting_errors,
    show,
    table,
)

if TYPE_CHECKING:
    from rich.table import Table


__all__ = ["history", "rollback"]


@dataclass(frozen=True)
class History:
    """The built environments of a name.

    Attributes
    ----------
    name : str
        Which.
    generations : tuple of Generation
        Newest first.
    """

    name: str
    generations: tuple[Generation, ...]

    def renderable(self) -> Table:
        """Return a table."""
        rows = (
            (
                one.key,
                "current" if one.current else "",
                one.marker.built[:19],
                f"{one.marker.user or '?'} on {one.marker.host}",
                f"Python {one.marker.python}, uv {one.marker.uv}",
            )
            for one in self.generations
        )
        return table(self.name, ("key", "", "built (UTC)", "by", "with"), rows)


def history(
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Show what was built, when and by whom; 'rollback' goes back to it."""
    with reporting_errors():
        from ..environments.discovery import read_by_name
        from ..maintenance.history import history as look
        from ..settings.root import find_root

        place = find_root(root, cluster)
        found = look(read_by_name(name, place), place)
        show(History(name, tuple(found)), as_json)


@dataclass(frozen=True)
class RolledBack:
    """What is current now.

    Attributes
    ----------
    name : str
        Of the environment.
    key : str
        Of the generation.
    """

    name: str
    key: str

    def renderable(self) -> str:
        """Return a line."""
        return (
            f"{self.name} is {self.key} again, with its file and lock; workers keep what they use"
        )


def rollback(
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    key: Optional[str] = typer.Argument(None, help="Which one; else the one before the current."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Go back to an environment that was built before, at once."""
    with reporting_errors():
        from ..environments.discovery import read_by_name
        from ..maintenance.rollback import rollback as go_back
        from ..settings.root import find_root

        place = find_root(root, cluster)
        now = go_back(read_by_name(name, place), place, key)
        show(RolledBack(name, now.key), as_json)
