"""``rootstock run MODEL FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import typer

from .options import (
    ClusterOption,
    DeviceOption,
    EnvironmentOption,
    JsonOption,
    RootOption,
    SetupOption,
    ThreadsOption,
    TracebackOption,
    complete_models,
    model_arguments,
)
from .output import reporting_errors, show

__all__ = ["run_command"]


def run_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    model: str = typer.Argument(
        help="Model string, such as chgnet or mace-medium.", autocompletion=complete_models
    ),
    structure: Path = typer.Argument(help="Any file that ASE reads."),
    index: str = typer.Option("-1", help="Which frame of the file."),
    output: Optional[Path] = typer.Option(
        None, "-o", "--output", help="Write the structure with its results.", show_default=False
    ),
    environment: Optional[Path] = EnvironmentOption,
    device: str = DeviceOption,
    threads: Optional[int] = ThreadsOption,
    setup: Optional[list[str]] = SetupOption,
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    traceback: bool = TracebackOption,
    as_json: bool = JsonOption,
) -> None:
    """Compute energy, forces and stress of a structure, and all further results of the model."""
    with reporting_errors(traceback=traceback):
        from ..calculator import RootstockCalculator
        from .result_table import compute_results, read_structure

        atoms = read_structure(structure, index)
        arguments = model_arguments(root, cluster, environment, device, threads, setup)
        with RootstockCalculator(model, **arguments) as calc:
            show(compute_results(atoms, calc, output), as_json)
