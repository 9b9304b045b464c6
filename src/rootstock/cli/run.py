"""``rootstock run MODEL FILE``."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

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
from .output import reporting_errors, show, stopping_at_sigterm

if TYPE_CHECKING:
    from ..evaluation.frames import StructureFiles

__all__ = ["run_command"]

#: Frames that are listed.
_ROWS = 20


def run_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    model: str = typer.Argument(
        help="Model string, such as chgnet or mace-medium.", autocompletion=complete_models
    ),
    structure: Path = typer.Argument(help="Any file that ASE reads."),
    index: Optional[str] = typer.Option(
        None,
        help="Frames in ASE's syntax, such as -1 or ::10; the last one, or all with -o.",
        show_default=False,
    ),
    output: Optional[Path] = typer.Option(
        None, "-o", "--output", help="Write the structures with their results.", show_default=False
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
    with reporting_errors(traceback=traceback), stopping_at_sigterm():
        from ..calculator import RootstockCalculator
        from ..evaluation.frames import StructureFiles
        from .result_table import compute_results

        if index is None:
            index = "-1" if output is None else ":"
        files = StructureFiles([structure], index)
        first_two = [atoms for _, atoms in islice(files, 2)]
        arguments = model_arguments(root, cluster, environment, device, threads, setup)
        if len(first_two) == 1:
            with RootstockCalculator(model, **arguments) as calc:
                show(compute_results(first_two[0], calc, output), as_json)
        else:
            _run_many(model, files, output, arguments, traceback=traceback, as_json=as_json)


def _run_many(
    model: str,
    files: StructureFiles,
    output: Optional[Path],
    arguments: dict[str, Any],
    *,
    traceback: bool,
    as_json: bool,
) -> None:
    from ..evaluation.evaluate import evaluate
    from .evaluation_summary import ALL_FAILED, evaluate_files

    stream = partial(evaluate, model=model, **arguments)
    summary = evaluate_files(stream, files, model, output, rows=_ROWS, traceback=traceback)
    show(summary, as_json)
    if summary.failed and summary.failed == summary.structures:
        raise typer.Exit(ALL_FAILED)
