"""``rootstock evaluate MODEL FILE...``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

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
from .output import reporting_errors, show, stopping_at_sigterm

if TYPE_CHECKING:
    from ..evaluation.stored import StoreOptions

__all__ = ["evaluate_command"]

_STORE = "Store"


def evaluate_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    model: str = typer.Argument(
        help="Model string, such as chgnet or mace-medium.", autocompletion=complete_models
    ),
    files: list[Path] = typer.Argument(help="Structure files that ASE reads."),
    output: Optional[Path] = typer.Option(
        None,
        "-o",
        "--output",
        help="Write results: .extxyz, .traj, .csv, .json; or .db, a store, which goes on where it "
        "stopped.",
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
    shard: Optional[str] = typer.Option(
        None,
        metavar="I/N",
        help="Evaluate every N-th structure, from the I-th one on; NAME.db becomes NAME-IofN.db.",
        show_default=False,
        rich_help_panel=_STORE,
    ),
    retry_errors: bool = typer.Option(
        False,
        "--retry-errors",
        help="Repeat errors in the store of lost workers and time-outs.",
        rich_help_panel=_STORE,
    ),
    retry_all: bool = typer.Option(
        False, "--retry-all", help="Repeat all errors in the store.", rich_help_panel=_STORE
    ),
    ase_rows: Optional[bool] = typer.Option(
        None,
        help="Also write rows for 'ase db'; by default for up to 100,000 structures.",
        show_default=False,
        rich_help_panel=_STORE,
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
    """Evaluate many structures; a structure with an error does not stop the others.

    Ends at SIGTERM with exit code 143; with a store the same command then goes on.
    """
    with reporting_errors(traceback=traceback), stopping_at_sigterm():
        from ..evaluation.evaluate import evaluate
        from ..evaluation.frames import StructureFiles
        from ..evaluation.stored import Shard
        from .evaluation_summary import ALL_FAILED, evaluate_files, evaluate_into_store

        if workers < 1:
            msg = f"--workers {workers} must be a positive integer"
            raise ConfigurationError(msg)
        retry = "all" if retry_all else retry_errors
        given = {"--shard": shard, "--retry-errors": retry or None, "--ase-rows": ase_rows}
        store = _store(output, given)
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
        share = None if shard is None else Shard.parse(shard)
        frames = StructureFiles(files, index)
        if store is None:
            summary = evaluate_files(stream, frames, model, output, traceback=traceback)
        else:
            summary = evaluate_into_store(stream, frames, model, store, share, traceback=traceback)
        show(summary, as_json)
        if summary.structures and summary.failed == summary.structures:
            raise typer.Exit(ALL_FAILED)


def _store(output: Optional[Path], given: dict[str, Any]) -> Optional[StoreOptions]:
    """Return the store that the options describe; None if there is none."""
    from ..evaluation.stored import StoreOptions

    if output is None or output.suffix != ".db":
        for option in (name for name, value in given.items() if value is not None):
            msg = f"{option} needs a store: write the results to a file that ends with .db"
            raise ConfigurationError(msg)
        return None
    return StoreOptions(output, given["--ase-rows"], given["--retry-errors"] or False)


def _names(text: Optional[str]) -> Optional[list[str]]:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]
