"""``rootstock pack NAME`` and ``rootstock unpack FILE``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import typer

from .output import ClusterOption, JsonOption, RootOption, complete_names, reporting_errors, show

__all__ = ["pack", "unpack"]


@dataclass(frozen=True)
class Packed:
    """An archive.

    Attributes
    ----------
    path : str
        Where.
    bytes : int
        How large.
    models : tuple of str
        Whose weights are in it.
    """

    path: str
    bytes: int
    models: tuple[str, ...]

    def renderable(self) -> str:
        """Return what comes next."""
        weights = f" with the weights of {', '.join(self.models)}" if self.models else ""
        return (
            f"wrote {self.path} ({self.bytes / 2**20:.0f} MiB){weights}. "
            f"There: rootstock unpack {Path(self.path).name} --root FOLDER"
        )


def pack(
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
        from ..environments.discovery import read_by_name
        from ..maintenance.pack import pack as write
        from ..settings.root import find_root

        place = find_root(root, cluster)
        path = output or Path(f"{name}.tar")
        models = write(read_by_name(name, place), place, path)
        show(Packed(str(path), path.stat().st_size, tuple(models)), as_json)


@dataclass(frozen=True)
class Unpacked:
    """What is ready now.

    Attributes
    ----------
    name, key : str
        Of the environment.
    python : str
        Its interpreter.
    """

    name: str
    key: str
    python: str

    def renderable(self) -> str:
        """Return a line."""
        return f"{self.name} is ready ({self.key}): {self.python}"


def unpack(
    archive: Path = typer.Argument(help="What 'rootstock pack' wrote."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Put a packed environment into a root; needs no network, but a Python of its version."""
    with reporting_errors():
        from ..maintenance.pack import unpack as read
        from ..settings.root import find_root

        built = read(archive, find_root(root, cluster))
        show(Unpacked(built.file.name, built.key, str(built.python)), as_json)
