"""``rootstock list``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from .edge import ClusterOption, JsonOption, RootOption, edge, show

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["listing"]


@dataclass(frozen=True)
class Entry:
    """One environment.

    Attributes
    ----------
    name : str
        As in model strings.
    origin : str
        ``"root"`` or ``"catalogue"``.
    built : bool
        Ready to run.
    models : dict of str to str
        Model string to description.
    problem : str
        Why it can't be used; empty if it can.
    """

    name: str
    origin: str
    built: bool
    models: dict[str, str]
    problem: str


@dataclass(frozen=True)
class Listing:
    """All environments.

    Attributes
    ----------
    root : str
        Of which root.
    environments : tuple of Entry
        Sorted by name.
    """

    root: str
    environments: tuple[Entry, ...]

    def renderable(self) -> Table:
        """Return a table with a row for each model."""
        from rich.table import Table

        table = Table(title=self.root, title_justify="left")
        for column in ("environment", "from", "built", "model string", "what it is"):
            table.add_column(column)
        for entry in self.environments:
            rows = list(entry.models.items()) or [(entry.name, entry.problem)]
            for number, (model, text) in enumerate(rows):
                first = (entry.name, entry.origin, "yes" if entry.built else "no")
                table.add_row(*(first if number == 0 else ("", "", "")), model, text)
        return table


def listing(
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Show environments and their models: where each comes from, and which are built."""
    with edge():
        from ..environments import available, is_ready
        from ..root import find_root

        place = find_root(root, cluster)
        entries = []
        for found in available(place):
            models = {} if found.file is None else found.file.models
            entries.append(
                Entry(
                    found.name,
                    found.origin,
                    found.file is not None and is_ready(found.file, place),
                    {f"{found.name}-{m}".removesuffix("-"): text for m, text in models.items()},
                    found.problem,
                )
            )
        show(Listing(str(place.path), tuple(entries)), as_json)
