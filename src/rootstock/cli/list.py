"""``rootstock list``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .output import ClusterOption, JsonOption, RootOption, reporting_errors, show

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
        ``"overlay"``, ``"root"`` or ``"catalogue"``.
    built : bool
        Ready to run.
    models : dict of str to str
        Model string to description.
    licences : dict of str to str
        Of the weights, by model string.
    problem : str
        Why it can't be used; empty if it can.
    """

    name: str
    origin: str
    built: bool
    models: dict[str, str]
    licences: dict[str, str]
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
    sizes : dict of str to int
        Bytes of each cache and environment, if they were asked for.
    """

    root: str
    environments: tuple[Entry, ...]
    sizes: dict[str, int]

    def renderable(self) -> Table:
        """Return a table with a row for each model."""
        from rich.table import Table

        table = Table(title=self.root, title_justify="left")
        table.add_column("model string", no_wrap=True)
        for column in ("what it is", "licence of the weights", "from", "built"):
            table.add_column(column, overflow="fold")
        for entry in self.environments:
            where = (entry.origin, "yes" if entry.built else "no")
            for model, text in entry.models.items() or [(entry.name, entry.problem)]:
                table.add_row(model, text, entry.licences.get(model, ""), *where)
            table.add_section()
        if self.sizes:
            table.caption = "; ".join(
                f"{n}: {size / 2**20:,.0f} MiB" for n, size in self.sizes.items()
            )
        return table


def listing(
    sizes: bool = typer.Option(False, help="Also sizes on disk: minutes on a large root."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Show environments and their models: where each comes from, and which are built."""
    with reporting_errors():
        from ..environments.build import is_ready
        from ..environments.discovery import available
        from ..settings.root import find_root

        place = find_root(root, cluster)
        entries = []
        for found in available(place):
            file = found.file
            models = {} if file is None else file.models
            strings = {m: f"{found.name}-{m}".removesuffix("-") for m in models}
            entries.append(
                Entry(
                    found.name,
                    found.origin,
                    file is not None and is_ready(file, place),
                    {strings[m]: text for m, text in models.items()},
                    {} if file is None else {strings[m]: file.licence(m) for m in models},
                    found.problem,
                )
            )
        usage = place.writable.usage() if sizes else {}
        show(Listing(str(place.path), tuple(entries), usage), as_json)
