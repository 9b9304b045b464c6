"""``rootstock install NAME|FILE|FOLDER...``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .output import ClusterOption, JsonOption, RootOption, complete_names, reporting_errors, show

if TYPE_CHECKING:
    from ..environments.environment_file import EnvironmentFile
    from ..environments.options import BuildOptions
    from ..settings.root import Root

__all__ = ["install"]


@dataclass(frozen=True)
class Installed:
    """What is ready now.

    Attributes
    ----------
    root : str
        Where.
    environments : dict of str to str
        Name to key.
    changed : dict of str to list of str
        With an upgrade: what is different in each lock.
    fetched : tuple of str
        Models whose weights were fetched.
    """

    root: str
    environments: dict[str, str]
    changed: dict[str, list[str]]
    fetched: tuple[str, ...]

    def renderable(self) -> str:
        """Return a line for each."""
        lines = [f"{name} is ready ({key})" for name, key in self.environments.items()]
        for name, changes in self.changed.items():
            lines += [f"  {name}: {change}" for change in changes or ["nothing changed"]]
        lines += [f"the weights of {model} are fetched" for model in self.fetched]
        return "\n".join([*lines, f"in {self.root}"])


def install(  # noqa: PLR0913, PLR0917  options, which nobody passes by place
    names: list[str] = typer.Argument(
        help="Names of environments, files NAME_env.py, or folders of such.",
        autocompletion=complete_names,
    ),
    models: Optional[str] = typer.Option(None, help="Fetch the weights of these: medium,small"),
    upgrade: bool = typer.Option(False, help="Resolve anew; says what changed."),
    force: bool = typer.Option(False, help="Build even if it fits; replace files."),
    python: Optional[str] = typer.Option(None, help="Version or interpreter."),
    torch_backend: Optional[str] = typer.Option(None, help="uv's name: cpu, cu128, auto, ..."),
    system_site_packages: Optional[bool] = typer.Option(
        None, help="Lay it over what --python has installed."
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
        place = find_root(root, cluster)
        files = _files(names, place, force)
        built, changed = _build(files, place, options)
        fetched = _fetch(files, place, models)
        show(Installed(str(place.writable.path), built, changed, fetched), as_json)


def _files(names: list[str], place: Root, force: bool) -> list[EnvironmentFile]:
    """Read all that is named before anything is built: a typing error costs no build."""
    from ..environments.discovery import read_by_name
    from ..maintenance.add_files import add_files

    paths = [Path(name) for name in names if "/" in name or name.endswith(".py")]
    known = [read_by_name(name, place) for name in names if Path(name) not in paths]
    return [*known, *(add_files(place, paths, replace=force) if paths else [])]


def _build(
    files: list[EnvironmentFile], place: Root, options: BuildOptions
) -> tuple[dict[str, str], dict[str, list[str]]]:
    from ..environments.build import install as build
    from ..environments.build import prepare
    from ..environments.lockfile import changes, read_lock

    plain = options == type(options)()
    built, changed = {}, {}
    for file in files:
        before = read_lock(place.writable.lock(file))
        made = prepare(file, place) if plain else build(file, place, options=options)
        built[file.name] = made.key
        after = read_lock(place.writable.lock(made.file))
        if options.upgrade and after is not None:
            changed[file.name] = [
                f"{one.name} {one.before or 'new'} -> {one.after or 'gone'}"
                for one in changes(before, after)
            ]
    return built, changed


def _fetch(files: list[EnvironmentFile], place: Root, models: Optional[str]) -> tuple[str, ...]:
    if models is None:
        return ()
    from ..maintenance.fetch import fetch

    strings = [
        f"{file.name}-{model}" if model else file.name
        for file in files
        for model in models.split(",")
    ]
    for text in strings:
        fetch(text, root=place.path)
    return tuple(strings)
