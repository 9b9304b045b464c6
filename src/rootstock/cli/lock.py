"""``rootstock lock NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .options import ClusterOption, JsonOption, RootOption, complete_names
from .output import reporting_errors, show

if TYPE_CHECKING:
    from ..environments.lockfile import Change

__all__ = ["lock_command"]


@dataclass(frozen=True)
class Locked:
    """A lock that was made.

    Attributes
    ----------
    path : str
        Path of the lock.
    packages : int
        Number of packages that it pins.
    changes : tuple of Change
        Differences from the previous lock.
    """

    path: str
    packages: int
    changes: tuple[Change, ...]

    def renderable(self) -> str:
        """Return a line, and one for each change."""
        lines = [f"{self.path}: {self.packages} packages"]
        lines += [f"  {c.name} {c.before or 'new'} -> {c.after or 'removed'}" for c in self.changes]
        return "\n".join(lines if self.changes else [*lines, "  nothing changed"])


def lock_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    upgrade: bool = typer.Option(False, help="Ignore the pins of the existing lock."),
    python: Optional[str] = typer.Option(None, help="Python version or interpreter."),
    torch_backend: Optional[str] = typer.Option(None, help="PyTorch build: cpu, cu128, auto, ..."),
    system_site_packages: Optional[bool] = typer.Option(
        None, help="Leave out the packages that --python has installed."
    ),
    offline: bool = typer.Option(False, help="Use no network."),
    find_links: Optional[list[str]] = typer.Option(None, help="Folder with wheels."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Create or update a lock without building; 'install' builds from it."""
    with reporting_errors():
        from ..environments.build import relock
        from ..environments.discovery import find_environment
        from ..environments.environment_file import check_settings
        from ..environments.options import BuildOptions
        from ..settings.root import find_root

        target = find_root(root, cluster)
        options = BuildOptions(
            python=python,
            torch_backend=torch_backend,
            system_site_packages=system_site_packages,
            find_links=tuple(find_links or ()),
            offline=offline,
            upgrade=upgrade,
        )
        environment = find_environment(name, target)
        check_settings(environment.file, strict=False)
        result, changed = relock(environment, options=options)
        show(Locked(str(result.path), len(result.packages), changed), as_json)
