"""Equations of state in a comparison: which crystals, and the fits to a model's energies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import ConfigurationError
from ..evaluation.files import describe
from .comparison import EOSCurve
from .eos import VOLUME_RATIOS, fit_eos, scaled_crystals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from ..evaluation.result import Evaluation

__all__ = ["EOSTest"]

#: Crystals whose equations of state are computed: more curves than that are no overview.
_MOST = 12


class EOSTest:
    """Equations of state of the first crystal of each chemical formula.

    Parameters
    ----------
    structures : sequence of Atoms
        Those of the comparison, or none if the test was not asked for.

    Attributes
    ----------
    chosen : list of int
        The places of the crystals.
    images : list of Atoms
        All volumes of all crystals, to evaluate behind the structures.
    left_out : int
        Crystals that are beyond the most that are computed.
    """

    def __init__(self, structures: Sequence[Atoms]) -> None:
        first: dict[str, int] = {}
        for index, atoms in enumerate(structures):
            if atoms.pbc.all() and atoms.cell.rank == 3:  # noqa: PLR2004  three dimensions
                first.setdefault(atoms.get_chemical_formula(), index)
        chosen = list(first.values())
        self.chosen, self.left_out = chosen[:_MOST], len(chosen[_MOST:])
        self.images = [image for i in self.chosen for image in scaled_crystals(structures[i])]

    def curves(
        self, evaluations: Sequence[Sequence[Evaluation]], offset: int
    ) -> tuple[EOSCurve, ...]:
        """Return the curve of each crystal and model.

        Parameters
        ----------
        evaluations : sequence of sequence of Evaluation
            For each model, those of the structures and then of :attr:`images`.
        offset : int
            The number of structures.
        """
        count = len(VOLUME_RATIOS)
        return tuple(
            self._curve(k, index, of_model[offset + n * count : offset + (n + 1) * count])
            for n, index in enumerate(self.chosen)
            for k, of_model in enumerate(evaluations)
        )

    @staticmethod
    def _curve(model: int, structure: int, evaluations: Sequence[Evaluation]) -> EOSCurve:
        known = [e for e in evaluations if e.ok and "energy" in e.results]
        if len(known) < len(VOLUME_RATIOS):
            errors = [describe(e) for e in evaluations if not e.ok]
            return EOSCurve(model, structure, None, errors[0] if errors else "not evaluated")
        volumes = np.array([e.source.get_volume() for e in known])
        energies = np.array([float(np.asarray(e.results["energy"]).reshape(())) for e in known])
        try:
            return EOSCurve(model, structure, fit_eos(volumes, energies))
        except ConfigurationError as error:
            return EOSCurve(model, structure, None, str(error))
