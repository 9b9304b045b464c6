"""``rootstock install NAME|FILE|FOLDER...``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .options import ClusterOption, JsonOption, RootOption, complete_names
from .output import reporting_errors, show

if TYPE_CHECKING:
    from ..environments.environment import Environment
    from ..environments.options import BuildOptions
    from ..settings.root import Root

__all__ = ["install_command"]


@dataclass(frozen=True)
class Installed:
    """Environments that are ready.

    Attributes
    ----------
    root : str
        The layer that they are in.
    environments : dict of str to str
        Name to build id.
    changed : dict of str to list of str
        With an upgrade: the changes of each lock.
    fetched : tuple of str
        Models whose weights were fetched.
    """

    root: str
    environments: dict[str, str]
    changed: dict[str, list[str]]
    fetched: tuple[str, ...]

    def renderable(self) -> str:
        """Return a line for each."""
        lines = [f"{name} is ready ({build})" for name, build in self.environments.items()]
        for name, changes in self.changed.items():
            lines += [f"  {name}: {change}" for change in changes or ["nothing changed"]]
        lines += [f"the weights of {model} are fetched" for model in self.fetched]
        return "\n".join([*lines, f"in {self.root}"])


def install_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    names: list[str] = typer.Argument(
        help="Names of environments, files NAME_env.py, or folders of these files.",
        autocompletion=complete_names,
    ),
    models: Optional[str] = typer.Option(None, help="Also fetch these weights: medium,small"),
    upgrade: bool = typer.Option(False, help="Ignore the lock; list the changes."),
    force: bool = typer.Option(False, help="Build even if up to date; replace files."),
    python: Optional[str] = typer.Option(None, help="Python version or interpreter."),
    torch_backend: Optional[str] = typer.Option(None, help="PyTorch build: cpu, cu128, auto, ..."),
    system_site_packages: Optional[bool] = typer.Option(
        None, help="Use the packages that --python has installed."
    ),
    offline: bool = typer.Option(False, help="Use no network."),
    find_links: Optional[list[str]] = typer.Option(None, help="Folder with wheels."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Build environments, so that their first use needs no network and no waiting."""
    with reporting_errors():
        from ..environments.options import BuildOptions
        from ..maintenance.install import find_or_add
        from ..settings.root import find_root

        options = BuildOptions(
            python=python,
            torch_backend=torch_backend,
            system_site_packages=system_site_packages,
            find_links=tuple(find_links or ()),
            offline=offline,
            upgrade=upgrade,
            force=force,
        )
        target = find_root(root, cluster)
        environments = find_or_add(tuple(names), target, replace=force)
        built, changed = _build(environments, options)
        fetched = _fetch(environments, target, models)
        show(Installed(str(target.writable.path), built, changed, fetched), as_json)


def _build(
    environments: list[Environment], options: BuildOptions
) -> tuple[dict[str, str], dict[str, list[str]]]:
    from ..environments.lockfile import changes, read_lock
    from ..maintenance.install import install_one

    built, changed = {}, {}
    for environment in environments:
        before = read_lock(environment.writable.lock)
        result = install_one(environment, None, options)
        built[environment.name] = result.build.id
        after = read_lock(environment.writable.lock)
        if options.upgrade and after is not None:
            changed[environment.name] = [
                f"{change.name} {change.before or 'new'} -> {change.after or 'removed'}"
                for change in changes(before, after)
            ]
    return built, changed


def _fetch(environments: list[Environment], target: Root, models: Optional[str]) -> tuple[str, ...]:
    if models is None:
        return ()
    from ..environments.model_strings import model_string
    from ..maintenance.fetch import fetch

    strings = [
        model_string(environment.name, model)
        for environment in environments
        for model in models.split(",")
    ]
    for text in strings:
        fetch(text, root=target.path)
    return tuple(strings)
