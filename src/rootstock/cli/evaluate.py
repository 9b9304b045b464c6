"""``rootstock evaluate MODEL FILE...``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Optional

import typer

from ..errors import ConfigurationError
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

__all__ = ["evaluate_command"]


def evaluate_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    model: str = typer.Argument(
        help="Model string, such as chgnet or mace-medium.", autocompletion=complete_models
    ),
    files: list[Path] = typer.Argument(help="Structure files that ASE reads."),
    output: Optional[Path] = typer.Option(
        None,
        "-o",
        "--output",
        help="Write results: .extxyz, .traj, .csv or .json.",
        show_default=False,
    ),
    index: str = typer.Option(":", help="Frames of each file, in ASE's syntax."),
    properties: Optional[str] = typer.Option(
        None,
        help="Properties to ask for, such as energy,forces; each is then required.",
        show_default=False,
    ),
    exact: bool = typer.Option(False, "--exact", help="Evaluate structures one by one."),
    batch_atoms: Optional[int] = typer.Option(
        None, help="Atoms in a batch; found by itself by default.", show_default=False
    ),
    devices: Optional[str] = typer.Option(
        None, help="Devices that share the work: cuda:0,cuda:1.", show_default=False
    ),
    workers: int = typer.Option(1, help="Workers on each device."),
    environment: Optional[Path] = EnvironmentOption,
    device: str = DeviceOption,
    threads: Optional[int] = ThreadsOption,
    setup: Optional[list[str]] = SetupOption,
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    traceback: bool = TracebackOption,
    as_json: bool = JsonOption,
) -> None:
    """Evaluate many structures; a structure with an error does not stop the others."""
    with reporting_errors(traceback=traceback):
        from ..evaluation.evaluate import evaluate
        from ..evaluation.frames import StructureFiles
        from .evaluation_summary import ALL_FAILED, evaluate_files

        if workers < 1:
            msg = f"--workers {workers} must be a positive integer"
            raise ConfigurationError(msg)
        stream = partial(
            evaluate,
            model=model,
            properties=_names(properties),
            devices=_names(devices),
            workers_per_device=workers,
            batch_atoms=batch_atoms,
            exact=exact,
            **model_arguments(root, cluster, environment, device, threads, setup),
        )
        frames = StructureFiles(files, index)
        summary = evaluate_files(stream, frames, model, output, traceback=traceback)
        show(summary, as_json)
        if summary.structures and summary.failed == summary.structures:
            raise typer.Exit(ALL_FAILED)


def _names(text: Optional[str]) -> Optional[list[str]]:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
