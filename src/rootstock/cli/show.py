"""``rootstock show NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from .options import ClusterOption, JsonOption, RootOption, complete_names
from .output import reporting_errors, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..maintenance.history import BuildEntry


__all__ = ["show_command"]


@dataclass(frozen=True)
class Shown:
    """An environment in full.

    Attributes
    ----------
    name, origin, path, summary, licence, paper, cache : str
        As in the environment file.
    requires_python : str
        Specifier of the allowed Python versions.
    dependencies : tuple of str
        Declared dependencies.
    models : dict of str to str
        Model string to description.
    lock : str or None
        Path of the lock.
    packages : dict of str to str
        Versions in the lock.
    current : BuildEntry or None
        The build in use.
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
    current: Optional[BuildEntry]

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
            else f"{built.id}, {built.record.built[:19]} UTC by {built.record.user or '?'} on "
            f"{built.record.host}, Python {built.record.python}, uv {built.record.uv}",
        }
        rows = [(key, value) for key, value in facts.items() if value]
        packages = [(f"{name}=={version}",) for name, version in self.packages.items()]
        return Group(
            table(self.name, ("", ""), rows, keep_first=True),
            table("", ("packages",), packages) if packages else "",
        )


def show_command(
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Show an environment's source, licence, lock, packages, and how it was built."""
    with reporting_errors():
        from ..environments.build import find_lock
        from ..environments.discovery import find_environment
        from ..environments.environment_file import check_settings
        from ..environments.model_strings import model_string
        from ..maintenance.history import history
        from ..settings.root import find_root

        environment = find_environment(name, find_root(root, cluster))
        file, lock = environment.file, find_lock(environment)
        check_settings(file, strict=False)
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
            models={model_string(name, model): text for model, text in file.models.items()},
            lock=None if lock is None else str(lock.path),
            packages={} if lock is None else dict(lock.packages),
            current=next((entry for entry in history(environment) if entry.current), None),
        )
        show(shown, as_json)
