r"""Energies of different models on one scale.

Absolute energies of models differ by the functional, corrections, pseudopotentials and reference
energies: by 0.1 eV/atom between two PBE models, by 10^3 to 10^4 between a crystal's and a
molecule's model. To first order the difference is a sum over elements. For each member :math:`k`
the shifts :math:`\mu_{k,Z}` minimise

.. math:: \sum_s \big(E_{k,s} - \bar E_s - \sum_Z n_{s,Z}\,\mu_{k,Z}\big)^2,

with :math:`\bar E_s` the mean of the members and :math:`n_{s,Z}` the number of atoms of element Z
(the least squares of LAMBench). Structures of one composition alone can't tell elements apart: then
only compositions that are sums of those that were fitted can be aligned.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
from ase.data import chemical_symbols

from ..errors import ConfigurationError

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

__all__ = ["Alignment", "composition_matrix", "fit_alignment"]

#: Of a composition: the largest part, relative to it, outside of the fitted ones.
_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Alignment:
    """Shifts of energies for each member and element.

    Attributes
    ----------
    members : tuple of str
        Model strings.
    elements : tuple of int
        Atomic numbers, rising.
    shifts_eV : tuple of tuple of float
        For each member, the shift of each element in eV/atom.
    rank : int
        Rank of the compositions: less than the number of elements if they could not be told apart.
    compositions : tuple of tuple of float
        Orthonormal rows that span the compositions that were fitted, when `rank` is less than the
        number of elements.
    structures : int
        Structures that were fitted.
    rmse_eV_per_atom : tuple of float
        For each member, the root mean square of what remains.
    method : str
        How shifts were found.
    """

    members: tuple[str, ...]
    elements: tuple[int, ...]
    shifts_eV: tuple[tuple[float, ...], ...]  # noqa: N815  the unit's symbol
    rank: int
    compositions: tuple[tuple[float, ...], ...]
    structures: int
    rmse_eV_per_atom: tuple[float, ...]  # noqa: N815
    method: str = "per-element least squares to the members' mean"

    @property
    def is_complete(self) -> bool:
        """Whether every composition of these elements can be aligned."""
        return self.rank == len(self.elements)

    def apply(self, energies: np.ndarray, numbers: np.ndarray) -> Optional[np.ndarray]:
        """Return the members' energies on one scale.

        Parameters
        ----------
        energies : ndarray of shape (M,)
            In eV.
        numbers : ndarray of int
            Atomic numbers of the structure.

        Returns
        -------
        ndarray of shape (M,) or None
            In eV; None for a composition that was not fitted.
        """
        if not set(np.unique(numbers).tolist()) <= set(self.elements):
            return None
        counts = composition_matrix([numbers], self.elements)[0]
        if not self.is_complete:
            span = np.array(self.compositions)
            outside = counts - span.T @ (span @ counts)
            if np.linalg.norm(outside) > _TOLERANCE * np.linalg.norm(counts):
                return None
        aligned: np.ndarray = np.asarray(energies, float) - np.array(self.shifts_eV) @ counts
        return aligned

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON data, with symbols beside the atomic numbers."""
        symbols = [chemical_symbols[number] for number in self.elements]
        return {**asdict(self), "symbols": symbols}

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Write it as JSON."""
        Path(path).write_text(json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Union[str, os.PathLike[str]]) -> Alignment:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ConfigurationError
            The file is missing, or was not written by :meth:`save`.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(
                members=tuple(document["members"]),
                elements=tuple(document["elements"]),
                shifts_eV=tuple(map(tuple, document["shifts_eV"])),
                rank=document["rank"],
                compositions=tuple(map(tuple, document["compositions"])),
                structures=document["structures"],
                rmse_eV_per_atom=tuple(document["rmse_eV_per_atom"]),
                method=document["method"],
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            msg = (
                f"{path} can't be read as an alignment ({type(error).__name__}: {error}): write "
                "one with Committee.fit_alignment(structures).save(path)"
            )
            raise ConfigurationError(msg) from error


def composition_matrix(numbers: Sequence[np.ndarray], elements: Sequence[int]) -> np.ndarray:
    """Return how many atoms of each element each structure has, shape (S, number of elements)."""
    rows = [[np.count_nonzero(np.asarray(n) == element) for element in elements] for n in numbers]
    return np.array(rows, float).reshape(len(numbers), len(elements))


def fit_alignment(
    members: Sequence[str], energies: np.ndarray, numbers: Sequence[np.ndarray]
) -> Alignment:
    """Fit the shifts of each member and element.

    Parameters
    ----------
    members : sequence of str
        Model strings.
    energies : ndarray of shape (M, S)
        Energies of M members for S structures, in eV.
    numbers : sequence of ndarray of int
        Atomic numbers of each structure.

    Raises
    ------
    ConfigurationError
        There are no more structures than unknown shifts: nothing would remain to compare.
    """
    energies = np.asarray(energies, float)
    elements = sorted({int(z) for species in numbers for z in np.unique(species)})
    counts = composition_matrix(numbers, elements)
    rank = int(np.linalg.matrix_rank(counts)) if len(counts) else 0
    if len(counts) <= rank or not rank:
        msg = (
            f"{len(counts)} structures of {rank} independent compositions can't be aligned: the "
            "fit would remove all differences. Give more structures than compositions"
        )
        raise ConfigurationError(msg)
    differences = energies - energies.mean(axis=0)
    shifts = np.linalg.lstsq(counts, differences.T, rcond=None)[0].T
    rest = (differences - shifts @ counts.T) / counts.sum(axis=1)
    span = np.linalg.svd(counts, full_matrices=False)[2][:rank]
    return Alignment(
        members=tuple(members),
        elements=tuple(elements),
        shifts_eV=tuple(map(tuple, shifts.tolist())),
        rank=rank,
        compositions=() if rank == len(elements) else tuple(map(tuple, span.tolist())),
        structures=len(counts),
        rmse_eV_per_atom=tuple(np.sqrt((rest**2).mean(axis=1)).tolist()),
    )
