"""Reference energies and forces that structures carry, or that another file has for them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from ase.calculators.calculator import PropertyNotImplementedError

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ase import Atoms

__all__ = ["Reference", "find_reference"]

#: Å by which a structure of the reference may differ: files round positions.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Reference:
    """Reference results of structures.

    Attributes
    ----------
    energies_eV : ndarray of shape (S,)
        NaN where there is none.
    forces_eV_per_A : tuple of ndarray of shape (n, 3)
        NaN where there are none.
    """

    energies_eV: np.ndarray  # noqa: N815  the unit's symbol
    forces_eV_per_A: tuple[np.ndarray, ...]  # noqa: N815

    @property
    def energies(self) -> int:
        """How many structures have an energy."""
        return int((~np.isnan(self.energies_eV)).sum())

    @property
    def forces(self) -> int:
        """How many structures have forces."""
        return sum(not np.isnan(forces).any() for forces in self.forces_eV_per_A)


def find_reference(
    structures: Sequence[Atoms], reference: Optional[Iterable[Atoms]] = None
) -> Optional[Reference]:
    """Return the reference results of structures; None if there are none.

    Parameters
    ----------
    structures : sequence of Atoms
        Their own calculators' stored results are used unless `reference` is given.
    reference : iterable of Atoms, optional
        Structures with results, in any order, among others perhaps: a structure belongs to the one
        whose species, periodic directions, lattice vectors and positions are the same within
        0.001 Å.

    Raises
    ------
    ConfigurationError
        `reference` has no results, or none for any of the structures.
    """
    sources: Sequence[Optional[Atoms]] = structures
    if reference is not None:
        sources = _matching(structures, list(reference))
    energies = np.array([_energy(source) for source in sources], float)
    forces = tuple(_forces(source, atoms) for source, atoms in zip(sources, structures))
    found = Reference(energies, forces)
    if found.energies or found.forces:
        return found
    if reference is None:
        return None
    count = sum(source is not None for source in sources)
    msg = (
        f"the reference has {'no energies and forces' if count else 'none of the structures'}: "
        "give a file whose frames are the same structures with results, such as extended XYZ with "
        "energy and forces"
    )
    raise ConfigurationError(msg)


def _matching(structures: Sequence[Atoms], candidates: list[Atoms]) -> list[Optional[Atoms]]:
    by_species: dict[bytes, list[Atoms]] = defaultdict(list)
    for candidate in candidates:
        by_species[_species(candidate)].append(candidate)
    return [
        next((c for c in by_species[_species(atoms)] if _is_same(c, atoms)), None)
        for atoms in structures
    ]


def _species(atoms: Atoms) -> bytes:
    return bytes(atoms.numbers.astype(np.int64).tobytes() + atoms.pbc.tobytes())


def _is_same(first: Atoms, second: Atoms) -> bool:
    return np.allclose(first.positions, second.positions, rtol=0, atol=_TOLERANCE) and np.allclose(
        first.cell.array, second.cell.array, rtol=0, atol=_TOLERANCE
    )


def _energy(atoms: Optional[Atoms]) -> float:
    energy = _known(atoms, "energy")
    return float("nan") if energy is None else float(energy)


def _forces(source: Optional[Atoms], atoms: Atoms) -> np.ndarray:
    forces = _known(source, "forces")
    if forces is None or not np.isfinite(forces).all():
        return np.full((len(atoms), 3), np.nan)
    return np.array(forces, float)


def _known(atoms: Optional[Atoms], name: str) -> Any:
    """Return a result that Atoms carry; None without one. Computes nothing."""
    if atoms is None or atoms.calc is None:
        return None
    try:
        return atoms.calc.get_property(name, atoms, allow_calculation=False)
    except PropertyNotImplementedError:
        return None
