"""``rootstock install NAME...``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import typer

from .edge import ClusterOption, JsonOption, RootOption, edge, show

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
    """

    root: str
    environments: dict[str, str]

    def renderable(self) -> str:
        """Return a line for each."""
        lines = [f"{name} is ready ({key})" for name, key in self.environments.items()]
        return "\n".join([*lines, f"in {self.root}"])


def install(
    names: list[str] = typer.Argument(help="Names of environments, such as chgnet mace."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Build environments, so that their first use needs no network and no waiting."""
    with edge():
        from ..environments import prepare, read_by_name
        from ..root import find_root

        place = find_root(root, cluster)
        files = [read_by_name(name, place) for name in names]  # a typing error costs no build
        built = {file.name: prepare(file, place).key for file in files}
        show(Installed(str(place.path), built), as_json)
