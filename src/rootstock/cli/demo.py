"""``rootstock demo``: the main job on the default model."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .output import ClusterOption, JsonOption, RootOption, reporting_errors, show

if TYPE_CHECKING:
    from rich.console import RenderableType

    from .evaluate import Evaluation

__all__ = ["demo"]


@dataclass(frozen=True)
class Demo:
    """Result of the demonstration.

    Attributes
    ----------
    first : Evaluation
        A supercell of copper, everything included: build, start, call.
    next_call_seconds : float
        The same after the atoms have moved.
    """

    first: Evaluation
    next_call_seconds: float

    def renderable(self) -> RenderableType:
        """Return the table and one line more."""
        from rich.console import Group

        line = f"The next call, after the atoms have moved, took {self.next_call_seconds:.3f} s."
        return Group(self.first.renderable(), line)


def demo(
    model: str = typer.Option("chgnet", help="Model string."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    as_json: bool = JsonOption,
) -> None:
    """Build a model's environment if need be, and compute a supercell of copper with it."""
    with reporting_errors():
        from ase.build import bulk

        from ..calculator import RootstockCalculator
        from .evaluate import evaluate

        atoms = bulk("Cu", "fcc", a=3.6) * (5, 5, 5)
        with RootstockCalculator(model, root=root, cluster=cluster, device=device) as calc:
            first = evaluate(atoms, calc)
            atoms.rattle(0.01, seed=1)
            started = time.perf_counter()
            atoms.get_forces()
            show(Demo(first, time.perf_counter() - started), as_json)
