"""Conversion between ASE Atoms and :class:`Structure`, with checks of the input."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Optional

import numpy as np
from ase import Atoms

from .errors import StructureError
from .protocol.data import FixedInputs, Structure
from .protocol.values import decode, encode_info, loads

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["from_atoms", "to_atoms"]

#: Positions are sent by themselves. Momenta change in every step of MD and no potential reads them.
_NOT_FIXED = ("positions", "momenta")


def from_atoms(atoms: Atoms, last: Optional[Structure] = None) -> Structure:
    """Return the structure of `atoms`; `last` itself if nothing changed.

    Everything that a model may read counts: positions, cell, pbc, species, every numeric per-atom
    array (initial magnetic moments and charges, tags, masses, ...) but the momenta, and ``info``.

    Returns
    -------
    Structure
        With copies of the arrays; positions and cell are float64, C-contiguous, in Å.

    Raises
    ------
    StructureError
        No atoms, or a position or lattice vector that is not finite.
    """
    if last is not None and _same_fixed_inputs(atoms, last.fixed_inputs):
        fixed_inputs = last.fixed_inputs
        if _same(atoms.arrays["positions"], last.positions) and _same(atoms.cell.array, last.cell):
            return last
    else:
        fixed_inputs = _fixed_inputs(atoms)
    positions = np.array(atoms.arrays["positions"], np.float64, order="C")
    cell = np.array(atoms.cell.array, np.float64, order="C")
    _check(positions, cell)
    return Structure(fixed_inputs, positions, cell)


def to_atoms(structure: Structure) -> Atoms:
    """Return new Atoms that :func:`from_atoms` would turn into an equal structure."""
    arrays = dict(structure.fixed_inputs.arrays)
    atoms = Atoms(
        numbers=arrays.pop("numbers"),
        positions=structure.positions,
        cell=structure.cell,
        pbc=arrays.pop("pbc"),
        info=decode(loads(structure.fixed_inputs.info, "info")),
    )
    for name, array in arrays.items():
        atoms.set_array(name, array)
    return atoms


def _per_atom(atoms: Atoms) -> Mapping[str, np.ndarray]:
    return {
        name: array
        for name, array in atoms.arrays.items()
        if name not in _NOT_FIXED and array.dtype.kind in "biufc"
    }


def _fixed_inputs(atoms: Atoms) -> FixedInputs:
    arrays = {name: array.copy() for name, array in _per_atom(atoms).items()}
    arrays["pbc"] = np.array(atoms.pbc, bool)
    return FixedInputs(arrays, encode_info(atoms.info))


def _same_fixed_inputs(atoms: Atoms, fixed_inputs: FixedInputs) -> bool:
    new = _per_atom(atoms)
    old = fixed_inputs.arrays
    if len(new) != len(old) - 1 or not all(
        name in old and _same(array, old[name]) for name, array in new.items()
    ):
        return False
    if not _same(atoms.pbc, old["pbc"]):
        return False
    return encode_info(atoms.info) == fixed_inputs.info


def _same(new: np.ndarray, old: np.ndarray) -> bool:
    return (
        new.shape == old.shape
        and new.dtype == old.dtype
        and bool(np.logical_and.reduce(np.equal(new, old), axis=None))
    )


def _check(positions: np.ndarray, cell: np.ndarray) -> None:
    if len(positions) == 0:
        msg = "there are no atoms to compute: the structure is empty"
        raise StructureError(msg)
    # min and max pass a NaN on: one pass each and no temporary
    if not (math.isfinite(positions.min()) and math.isfinite(positions.max())):
        bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
        msg = (
            f"the position of atom {bad[0]} is not finite: {positions[bad[0]].tolist()} (one "
            f"of {len(bad)}); check for an exploding trajectory, or a file in another format"
        )
        raise StructureError(msg)
    if not all(map(math.isfinite, cell.ravel().tolist())):
        msg = (
            f"the cell is not finite: {cell.tolist()}; check for an exploding trajectory, or a "
            "file in another format"
        )
        raise StructureError(msg)
