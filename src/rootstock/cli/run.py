"""``rootstock run MODEL FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .output import ClusterOption, JsonOption, RootOption, reporting_errors, show

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["run"]


def run(  # noqa: PLR0913, PLR0917  options, which nobody passes by place
    model: str = typer.Argument(help="Model string, such as chgnet or mace-medium."),
    structure: Path = typer.Argument(help="Any file that ASE reads."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    threads: Optional[int] = typer.Option(None, help="CPU threads.", show_default=False),
    index: str = typer.Option("-1", help="Which frame of the file."),
    output: Optional[Path] = typer.Option(
        None, "-o", "--output", help="Write the structure with its results.", show_default=False
    ),
    as_json: bool = JsonOption,
) -> None:
    """Energy, forces, stress and what else a model has, for a structure from a file."""
    with reporting_errors():
        from ..calculator import RootstockCalculator
        from .evaluate import evaluate

        atoms = read_structure(structure, index)
        arguments = {"root": root, "cluster": cluster, "device": device, "threads": threads}
        with RootstockCalculator(model, **arguments) as calc:  # type: ignore[arg-type]
            show(evaluate(atoms, calc, output), as_json)


def read_structure(path: Path, index: str = "-1") -> Atoms:
    """Read one structure.

    Raises
    ------
    ConfigurationError
        The file is missing, or ASE can't read it.
    """
    from ase.io import read

    from ..errors import ConfigurationError

    try:
        return read(path, index=int(index))
    except FileNotFoundError as error:
        msg = f"there is no file {path}"
        raise ConfigurationError(msg) from error
    except Exception as error:  # ASE's readers raise whatever their parsing meets
        msg = f"ASE can't read frame {index} of {path}: {type(error).__name__}: {error}"
        raise ConfigurationError(msg) from error
