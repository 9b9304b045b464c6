"""``rootstock unpack FILE``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import typer

from .options import ClusterOption, JsonOption, RootOption
from .output import reporting_errors, show

__all__ = ["unpack_command"]


@dataclass(frozen=True)
class Unpacked:
    """An environment that is ready now.

    Attributes
    ----------
    name, build : str
        Name of the environment and build id.
    python : str
        Its interpreter.
    """

    name: str
    build: str
    python: str

    def renderable(self) -> str:
        """Return a line."""
        return f"{self.name} is ready ({self.build}): {self.python}"


def unpack_command(
    archive: Path = typer.Argument(help="An archive that 'rootstock pack' wrote."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Put a packed environment into a root; needs no network, but a Python of its version."""
    with reporting_errors():
        from ..maintenance.pack import unpack
        from ..settings.root import find_root

        built = unpack(archive, find_root(root, cluster))
        show(Unpacked(built.name, built.build.id, str(built.python)), as_json)
