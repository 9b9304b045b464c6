"""Calibrating a committee on structures with reference energies and forces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from ..errors import ConfigurationError
from .alignment import composition_matrix
from .calibration import Calibration, musil_factor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ase import Atoms

    from .alignment import Alignment

__all__ = ["calibrate"]


def calibrate(
    results_of: Callable[[Atoms], Mapping[str, Any]],
    alignment: Optional[Alignment],
    reference: Iterable[Atoms],
) -> Calibration:
    """Return the factors of a committee, separately for energies and forces.

    Energies are compared where the committee's are aligned: first the reference is put on their
    scale by shifts for each element, fitted to the committee's mean.

    Parameters
    ----------
    results_of : callable
        Returns the committee's results of a structure.
    alignment : Alignment, optional
        Of the members' energies.
    reference : iterable of Atoms
        With energies (eV) or forces (eV/Å).

    Raises
    ------
    ConfigurationError
        No reference values, or too few.
    """
    size = used = 0
    forces: list[tuple[np.ndarray, np.ndarray]] = []
    energies: list[tuple[np.ndarray, float, np.ndarray]] = []
    for atoms in reference:
        true_energy, true_forces = _known(atoms, "energy"), _known(atoms, "forces")
        if true_energy is None and true_forces is None:
            continue
        used += 1
        results = results_of(atoms)
        size = len(results["forces_comm"])
        if true_forces is not None:
            members = results["forces_comm"]
            forces.append((members.reshape(len(members), -1), np.ravel(true_forces)))
        aligned = None
        if alignment is not None:
            aligned = alignment.apply(results["energy_comm"], atoms.numbers)
        if true_energy is not None and aligned is not None:
            energies.append((aligned, float(true_energy), atoms.numbers))
    if not forces and not energies:
        msg = (
            "no structure has reference forces, or reference energies with an aligned committee: "
            "give Atoms with results, such as frames of an extended XYZ file, and align="
        )
        raise ConfigurationError(msg)
    return Calibration(
        alpha_energy=_energy_factor(energies) if energies else None,
        alpha_forces=_force_factor(forces) if forces else None,
        structures=used,
        members=size,
    )


def _known(atoms: Atoms, name: str) -> Any:
    """Return a result that Atoms carry; None without one. Computes nothing."""
    if atoms.calc is None:
        return None
    try:
        return atoms.calc.get_property(name, atoms, allow_calculation=False)
    except PropertyNotImplementedError:
        return None


def _force_factor(forces: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    members = np.concatenate([part for part, _ in forces], axis=1)
    return musil_factor(members, np.concatenate([true for _, true in forces]))


def _energy_factor(energies: Sequence[tuple[np.ndarray, float, np.ndarray]]) -> float:
    numbers = [species for _, _, species in energies]
    sizes = np.array([len(species) for species in numbers])
    members = np.array([aligned for aligned, _, _ in energies]).T
    elements = sorted({int(z) for species in numbers for z in species})
    counts = composition_matrix(numbers, elements)
    difference = np.array([true for _, true, _ in energies]) - members.mean(axis=0)
    shifts = np.linalg.lstsq(counts, difference, rcond=None)[0]
    reference = members.mean(axis=0) + difference - counts @ shifts
    rank = int(np.linalg.matrix_rank(counts))
    return musil_factor(members / sizes, reference / sizes, fitted=rank)
