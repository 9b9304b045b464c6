"""ASE's own registries: the calculator by its name, and i-PI's structure files as a format.

ASE has no entry point for calculators. It does load those of file formats (``ase.ioformats``) when
``ase.io`` is imported. The entry point of ``format="ipi"`` names this module, which also registers
the name ``rootstock`` for :func:`ase.calculators.calculator.get_calculator_class` and for
``ase run rootstock``. The calculator itself is imported at first use.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import external_calculators, register_calculator_class
from ase.utils.plugins import ExternalIOFormat

from ..ipi.units import BOHR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from ase import Atoms

    from ..calculator import RootstockCalculator

__all__ = ["IPI_FORMAT", "make_calculator", "read_ipi", "write_ipi"]

#: The entry point's target.
IPI_FORMAT = ExternalIOFormat(
    desc="i-PI XYZ file (cell in the comment)",
    code="+F",
    module="rootstock.integrations.ase",
    magic_regex=rb"\s*\d+\s*\n#[^\n]*\bCELL[({\[](abcABC|H|GENH)[)}\]]:",
)
_CELL = re.compile(r"CELL[({\[](abcABC|H|GENH)[)}\]]:\s*((?:[-+0-9.Ee]+\s*){6,9})")
_UNIT = re.compile(r"(positions|cell)\{(\w+)\}")
#: Å per unit; i-PI's own default is atomic units.
_LENGTHS = {"angstrom": 1.0, "atomic_unit": BOHR}


def make_calculator(**kwargs: Any) -> RootstockCalculator:
    """Return a :class:`rootstock.RootstockCalculator` for ASE's name ``"rootstock"``."""
    from ..calculator import RootstockCalculator

    return RootstockCalculator(**kwargs)


#: ``ase run`` passes a label to calculators that don't say they have none.
make_calculator.nolabel = True  # type: ignore[attr-defined]

if "rootstock" not in external_calculators:
    register_calculator_class("rootstock", make_calculator)


def write_ipi(fd: TextIO, images: Iterable[Atoms]) -> None:
    """Write structures as i-PI reads them: ``ase.io.write(file, atoms, format="ipi")``.

    Lengths are in Å, which the file states. i-PI needs a cell whose first vector is along x and
    whose second is in the xy plane, and it treats all boundaries as periodic.

    Raises
    ------
    ValueError
        A lattice vector is missing, or the cell has another orientation.
    """
    for atoms in images:
        cell = atoms.cell.array
        if atoms.cell.rank < 3:  # noqa: PLR2004  dimensions
            msg = "i-PI needs a cell with three vectors: make one with atoms.center(vacuum=...)"
            raise ValueError(msg)
        if np.abs(cell[np.triu_indices(3, 1)]).max() > 1e-8 * np.abs(cell).max():
            msg = (
                "i-PI needs a cell with a along x and b in the xy plane: rotate it with "
                "atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)"
            )
            raise ValueError(msg)
        shown = " ".join(f"{number:.15g}" for number in cell.T.ravel())
        fd.write(f"{len(atoms)}\n# CELL(H): {shown} positions{{angstrom}} cell{{angstrom}}\n")
        for symbol, position in zip(atoms.get_chemical_symbols(), atoms.positions):
            x, y, z = position
            fd.write(f"{symbol:>3} {x:.15g} {y:.15g} {z:.15g}\n")


def read_ipi(fd: TextIO, index: Any) -> Iterator[Atoms]:
    """Read structures that i-PI wrote: ``ase.io.read(file, index=":", format="ipi")``.

    Raises
    ------
    ValueError
        The file is not in i-PI's format.
    """
    frames = list(_frames(fd))
    yield from frames[index] if isinstance(index, slice) else [frames[index]]


def _frames(fd: TextIO) -> Iterator[Atoms]:
    from ase import Atoms

    for line in fd:
        if not line.strip():
            continue
        comment = next(fd)
        rows = [next(fd).split() for _ in range(int(line))]
        units = dict(_UNIT.findall(comment))
        scale = {name: _length(units.get(name, "atomic_unit")) for name in ("positions", "cell")}
        positions = np.array([row[1:4] for row in rows], float) * scale["positions"]
        cell = _cell(comment)
        yield Atoms(
            [row[0] for row in rows],
            positions,
            cell=None if cell is None else _scaled(cell, scale["cell"]),
            pbc=cell is not None,
        )


def _length(unit: str) -> float:
    if unit not in _LENGTHS:
        msg = f"unknown unit of length {unit!r}: known are {', '.join(_LENGTHS)}"
        raise ValueError(msg)
    return _LENGTHS[unit]


def _cell(comment: str) -> Any:
    """Return a cell as ASE takes it: rows, or three lengths and three angles."""
    match = _CELL.search(comment)
    if match is None:
        return None
    kind, numbers = match[1], np.array(match[2].split(), float)
    return numbers[:6] if kind == "abcABC" else numbers[:9].reshape(3, 3).T


def _scaled(cell: np.ndarray, scale: float) -> np.ndarray:
    return np.concatenate([cell[:3] * scale, cell[3:]]) if cell.ndim == 1 else cell * scale
