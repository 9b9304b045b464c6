"""``rootstock pack NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import typer

from .options import ClusterOption, JsonOption, RootOption, complete_names
from .output import reporting_errors, show

__all__ = ["pack_command"]


@dataclass(frozen=True)
class Packed:
    """An archive.

    Attributes
    ----------
    path : str
        Path of the archive.
    bytes : int
        Its size in bytes.
    models : tuple of str
        Models whose weights are in it.
    """

    path: str
    bytes: int
    models: tuple[str, ...]

    def renderable(self) -> str:
        """Return the path and the next command."""
        weights = f" with the weights of {', '.join(self.models)}" if self.models else ""
        return (
            f"wrote {self.path} ({self.bytes / 2**20:.0f} MiB){weights}. "
            f"On the other machine: rootstock unpack {Path(self.path).name} --root FOLDER"
        )


def pack_command(
    name: str = typer.Argument(help="Name of an environment.", autocompletion=complete_names),
    output: Optional[Path] = typer.Option(
        None, "-o", "--output", help="Archive; NAME.tar by default. .gz and .xz compress."
    ),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Write a built environment, its lock and its weights into one file."""
    with reporting_errors():
        from ..environments.discovery import find_environment
        from ..maintenance.pack import pack
        from ..settings.root import find_root

        target = find_root(root, cluster)
        path = output or Path(f"{name}.tar")
        models = pack(find_environment(name, target), path)
        show(Packed(str(path), path.stat().st_size, tuple(models)), as_json)
