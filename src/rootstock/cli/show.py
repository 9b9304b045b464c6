"""``rootstock show NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

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
    from rich.console import RenderableType


__all__ = ["show_environment"]


@dataclass(frozen=True)
class Shown:
    """All that is known of an environment.

    Attributes
    ----------
    name, origin, path, summary, licence, paper, cache : str
        From its file.
    requires_python : str
        The Pythons that it allows.
    dependencies : tuple of str
        As declared.
    models : dict of str to str
        Model string to description.
    lock : str or None
        Where the lock is.
    packages : dict of str to str
        What the lock pins.
    current : Generation or None
        What is in use: by what, when, where and by whom it was built.
    """

    name: str
    origin: str
    path: str
    summary: str
    licence: str
    paper: str
    cache: str
    requires_python: str
    dependencies: tuple[str, ...]
    models: dict[str, str]
    lock: Optional[str]
    packages: dict[str, str]
    current: Optional[Generation]

    def renderable(self) -> RenderableType:
        """Return two tables."""
        from rich.console import Group

        built = self.current
        facts: dict[str, Any] = {
            "": self.summary,
            "file": f"{self.path} ({self.origin})",
            "Python": self.requires_python,
            "dependencies": ", ".join(self.dependencies),
            "models": ", ".join(self.models),
            "licence of the weights": self.licence,
            "paper": self.paper,
            "weights": self.cache,
            "lock": self.lock or "not locked yet",
            "built": "not built"
            if built is None
            else f"{built.key}, {built.marker.built[:19]} UTC by {built.marker.user or '?'} on "
            f"{built.marker.host}, Python {built.marker.python}, uv {built.marker.uv}",
        }
        rows = [(key, value) for key, value in facts.items() if value]
        packages = [(f"{name}=={version}",) for name, version in self.packages.items()]
        return Group(
            table(self.name, ("", ""), rows), table("", ("packages",), packages) if packages else ""
        )


def show_environment(
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Show an environment's source, licence, lock, packages, and how it was built."""
    with reporting_errors():
        from ..environments.build import find_lock
        from ..environments.discovery import read_by_name
        from ..maintenance.history import history
        from ..settings.root import find_root

        place = find_root(root, cluster)
        file = read_by_name(name, place)
        lock = find_lock(file, place)
        settings = file.settings
        shown = Shown(
            name=name,
            origin=file.origin,
            path=str(file.path),
            summary=file.summary,
            licence="; ".join(sorted({file.licence(), *map(file.licence, file.models)} - {""})),
            paper=str(settings.get("paper", "")),
            cache=str(settings.get("cache", "")),
            requires_python=file.requires_python,
            dependencies=tuple(file.metadata.get("dependencies", [])),
            models={f"{name}-{m}".removesuffix("-"): text for m, text in file.models.items()},
            lock=None if lock is None else str(lock.path),
            packages={} if lock is None else dict(lock.packages),
            current=next((one for one in history(file, place) if one.current), None),
        )
        show(shown, as_json)
