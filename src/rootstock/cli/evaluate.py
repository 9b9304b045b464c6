"""What ``run`` and ``demo`` share: one structure, one model, all that it gives."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from rich.table import Table

from ..errors import PropertyMissingError

if TYPE_CHECKING:
    from ase import Atoms

    from ..calculator import RootstockCalculator

__all__ = ["Evaluation", "evaluate"]

_UNITS = {
    "energy": "eV",
    "free_energy": "eV",
    "energies": "eV",
    "forces": "eV/Å",
    "stress": "eV/Å³",
    "stresses": "eV/Å³",
    "dipole": "e·Å",
    "charges": "e",
    "magmom": "μB",
    "magmoms": "μB",
}


@dataclass(frozen=True)
class Evaluation:
    """Result of one evaluation.

    Attributes
    ----------
    formula : str
        Of the structure.
    natoms : int
        Number of atoms.
    seconds : float
        From asking to having the results, a start and a build included.
    results : dict
        All that the model's calculator gave, in ASE's units.
    provenance : dict
        Model, environment, device, versions.
    written : str or None
        The file that the results were written to.
    """

    formula: str
    natoms: int
    seconds: float
    results: dict[str, Any]
    provenance: dict[str, Any]
    written: Optional[str] = None

    def renderable(self) -> Table:
        """Return a table: numbers as they are, arrays by shape and largest size."""
        where = f"{self.provenance['model']} on {self.provenance['device']}"
        table = Table(title=f"{self.formula} ({self.natoms} atoms), {where}", title_justify="left")
        for column in ("property", "value", "unit"):
            table.add_column(column)
        for name, value in self.results.items():
            table.add_row(name, _shown(value), _UNITS.get(name, ""))
        table.caption = f"{self.seconds:.2f} s" + (
            f"; written to {self.written}" * bool(self.written)
        )
        return table


def _shown(value: Any) -> str:
    if not isinstance(value, (np.ndarray, np.generic, float, int)):
        return str(value)
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array.item():.8g}"
    if array.size <= 9:  # noqa: PLR2004  a stress tensor fits on a line
        return np.array2string(array, precision=6, max_line_width=200)
    shape = " x ".join(map(str, array.shape))
    largest = np.abs(array).max()
    return f"{shape}, largest size {largest:.6g}"


def evaluate(atoms: Atoms, calc: RootstockCalculator, output: Optional[Path] = None) -> Evaluation:
    """Evaluate everything that the model has; write the structure with it if asked to."""
    started = time.perf_counter()
    atoms.calc = calc
    energy = atoms.get_potential_energy()
    for name in ("forces", "stress"):
        try:
            calc.get_property(name, atoms)
        except PropertyMissingError:
            continue  # it is absent from the results, then
    results = {"energy": energy, **calc.results}
    seconds = time.perf_counter() - started
    if output is not None:
        _write(atoms, calc.results, output)
    written = None if output is None else str(output)
    return Evaluation(
        atoms.get_chemical_formula(), len(atoms), seconds, results, calc.provenance, written
    )


def _write(atoms: Atoms, results: dict[str, Any], output: Path) -> None:
    from ase.calculators.calculator import all_properties
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    from ..settings.root import writing

    frozen = atoms.copy()
    known = {name: value for name, value in results.items() if name in all_properties}
    frozen.calc = SinglePointCalculator(frozen, **known)
    with writing(output):
        write(output, frozen)
