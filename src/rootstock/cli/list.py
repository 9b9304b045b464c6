"""``rootstock list [NAME]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer
from rich.markup import escape

from .options import ClusterOption, JsonOption, RootOption, complete_names
from .output import reporting_errors, show

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from ..environments.discovery import AvailableEnvironment

__all__ = ["list_command"]


@dataclass(frozen=True)
class Entry:
    """One environment.

    Attributes
    ----------
    name : str
        Name in model strings.
    origin : str
        ``"user"`` (layer), ``"root"`` or ``"catalogue"``.
    built : bool
        Whether it is ready to run.
    summary : str
        One line of description.
    models : dict of str to str
        Model string to description.
    licences : dict of str to str
        Licences of the weights, by model string.
    problem : str
        Why it can't be used; empty if it can.
    state : str
        ``"broken"``, ``"built"`` or ``"not built"``.
    """

    name: str
    origin: str
    built: bool
    summary: str
    models: dict[str, str]
    licences: dict[str, str]
    problem: str
    state: str


@dataclass(frozen=True)
class Listing:
    """All environments of a root, a line for each.

    Attributes
    ----------
    root : str
        The root.
    environments : tuple of Entry
        Sorted by name.
    sizes : dict of str to int
        Bytes of each cache and environment, if they were asked for.
    """

    root: str
    environments: tuple[Entry, ...]
    sizes: dict[str, int]

    def renderable(self) -> RenderableType:
        """Return a table in which only the description is shortened."""
        table = _plain_table("environment", "state", "models", "description")
        for entry in self.environments:
            text = entry.problem.partition("\n")[0] or entry.summary
            table.add_row(entry.name, entry.state, str(len(entry.models) or ""), escape(text))
        table.title = self.root
        caption = "rootstock list NAME shows the models of an environment"
        sizes = [f"{name}: {size / 2**20:,.0f} MiB" for name, size in self.sizes.items()]
        table.caption = "\n".join([caption, *sizes])
        return table


@dataclass(frozen=True)
class ModelListing:
    """The models of one environment.

    Attributes
    ----------
    environment : Entry
        The environment.
    """

    environment: Entry

    def renderable(self) -> RenderableType:
        """Return the models with description and licence, a line or two for each."""
        entry = self.environment
        if entry.problem:
            return entry.problem
        licences = sorted(set(entry.licences.values()) - {""})
        table = _plain_table("model string", "description", *(["licence"] if licences[1:] else []))
        for model, text in entry.models.items():
            row = [model, text, *([entry.licences[model]] if licences[1:] else [])]
            table.add_row(*map(escape, row))
        table.title = escape(f"{entry.name} ({entry.state}): {entry.summary}")
        if len(licences) == 1:
            table.caption = escape(f"licence of the weights: {licences[0]}")
        return table


def _plain_table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(
        box=None, title_justify="left", caption_justify="left", pad_edge=False, expand=True
    )
    for column in columns:
        if column == "description" and columns[-1] == column and len(columns) > 2:  # noqa: PLR2004
            table.add_column(column, no_wrap=True, overflow="ellipsis", ratio=1)
        elif column in ("description", "licence"):
            table.add_column(column, overflow="fold", min_width=16, ratio=1)
        else:
            table.add_column(column, no_wrap=True)
    return table


def _entry(available: AvailableEnvironment) -> Entry:
    from ..environments.build import find_build
    from ..environments.model_strings import model_string

    environment = available.environment
    if environment is None:
        name, origin = available.name, available.origin
        return Entry(name, origin, False, "", {}, {}, available.problem, "broken")
    file = environment.file
    built = find_build(environment) is not None
    models = file.models or {
        "": "the environment's default; other arguments of setup() follow a dash"
    }
    strings = {model: model_string(file.name, model) for model in models}
    return Entry(
        file.name,
        file.origin,
        built,
        file.summary,
        {strings[model]: text for model, text in models.items()},
        {strings[model]: file.licence(model) for model in models},
        "",
        "built" if built else "not built",
    )


def list_command(
    name: Optional[str] = typer.Argument(
        None, help="Show the models of this environment.", autocompletion=complete_names
    ),
    sizes: bool = typer.Option(False, "--sizes", help="Also sizes on disk (slow on a large root)."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """List environments, or the models of one environment."""
    with reporting_errors():
        from ..environments.discovery import (
            available_environments,
            known_files,
            unknown_environment,
        )
        from ..environments.environment_file import check_settings
        from ..settings.root import find_root

        target = find_root(root, cluster)
        named = [item for item in available_environments(target) if name in (None, item.name)]
        for item in named:
            if item.file is not None:
                check_settings(item.file, strict=False)
        entries = tuple(map(_entry, named))
        if name is None:
            usage = target.writable.usage() if sizes else {}
            show(Listing(str(target.path), entries, usage), as_json)
        elif not entries:
            raise unknown_environment(name, known_files(target), target)
        else:
            show(ModelListing(entries[0]), as_json)
