"""The result of evaluating one structure among many: :class:`Evaluation`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from ..errors import RootstockError
from ..properties import PROPERTIES

if TYPE_CHECKING:
    from ase import Atoms

    from ..protocol.data import Results
    from .evaluator import Outcome

__all__ = ["Evaluation", "with_results"]


@dataclass(frozen=True)
class Evaluation:
    """The outcome of one structure.

    Attributes
    ----------
    index : int
        Its place in the input, from 0.
    source : Atoms
        The input itself.
    provenance : Provenance or Any
        How it was evaluated; None if it never reached a model.
    stored : bool
        Whether it was in the store already.
    """

    index: int
    source: Atoms
    _outcome: Outcome = field(repr=False, compare=False)
    provenance: Any = field(default=None, repr=False, compare=False)
    stored: bool = field(default=False, compare=False)

    @property
    def error(self) -> Optional[RootstockError]:
        """Why there are no results; None if there are."""
        return self._outcome if isinstance(self._outcome, RootstockError) else None

    @property
    def ok(self) -> bool:
        """Whether there are results."""
        return not isinstance(self._outcome, RootstockError)

    @property
    def results(self) -> Results:
        """The model's results by ASE's names, in ASE's units, in its own dtypes and shapes.

        Raises
        ------
        RootstockError
            :attr:`error`, if there is one.
        """
        if isinstance(self._outcome, RootstockError):
            raise self._outcome
        return self._outcome

    def to_atoms(self) -> Atoms:
        """Return a copy of the structure that carries the results.

        Results with ASE's names are in a ``SinglePointCalculator``, as float64; further arrays with
        one row per atom become arrays of the copy, the rest goes into its ``info``.

        Raises
        ------
        RootstockError
            :attr:`error`, if there is one.
        """
        return with_results(self.source, self.results)


def with_results(atoms: Atoms, results: Results) -> Atoms:
    """Return a copy of Atoms that carries results.

    Those with ASE's names are in a ``SinglePointCalculator``, as float64; further arrays with one
    row per atom become arrays of the copy, the rest (and ``*_comm``, which have one row per member
    of a committee) goes into its ``info``.
    """
    copy = atoms.copy()
    known: dict[str, Any] = {}
    for name, value in results.items():
        array = np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else value
        if name in PROPERTIES:
            known[name] = np.asarray(value, np.float64)[()]
        elif isinstance(array, np.ndarray) and _is_per_atom(name, array, len(atoms)):
            copy.arrays[name] = array.copy()
        else:
            copy.info[name] = value
    copy.calc = SinglePointCalculator(copy, **known)
    return copy


def _is_per_atom(name: str, array: np.ndarray, natoms: int) -> bool:
    """Tell if an array has a row for each atom; of a committee's, the property decides."""
    stem, _, ending = name.rpartition("_")
    if stem in PROPERTIES and not PROPERTIES[stem].per_atom:
        return False
    return bool(array.ndim) and len(array) == natoms and ending != "comm"
