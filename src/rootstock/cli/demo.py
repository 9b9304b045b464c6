"""``rootstock demo``: a calculation with the default model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

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

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .result_table import StructureResults

__all__ = ["demo_command"]


@dataclass(frozen=True)
class Demo:
    """Result of the demonstration.

    Attributes
    ----------
    first : StructureResults
        A supercell of copper; the time includes build, start and call.
    next_call_seconds : float
        Time of a call after the atoms have moved.
    """

    first: StructureResults
    next_call_seconds: float

    def renderable(self) -> RenderableType:
        """Return the table and the time of the next call."""
        from rich.console import Group

        line = f"The next call, after the atoms have moved, took {self.next_call_seconds:.3f} s."
        return Group(self.first.renderable(), line)


def demo_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    model: Optional[str] = typer.Option(
        None,
        help="Model string; chgnet by default.",
        show_default=False,
        autocompletion=complete_models,
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
    """Build a model's environment if needed, and compute a supercell of copper with it."""
    with reporting_errors(traceback=traceback):
        from ase.build import bulk

        from ..calculator import RootstockCalculator
        from .result_table import compute_results

        atoms = bulk("Cu", "fcc", a=3.6) * (5, 5, 5)
        arguments = model_arguments(root, cluster, environment, device, threads, setup)
        name = "chgnet" if model is None and environment is None else model
        with RootstockCalculator(name, **arguments) as calc:
            first = compute_results(atoms, calc)
            atoms.rattle(0.01, seed=1)
            started = time.perf_counter()
            atoms.get_forces()
            show(Demo(first, time.perf_counter() - started), as_json)
