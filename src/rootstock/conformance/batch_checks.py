"""Whether ``evaluate_batch()`` returns what the calculator returns, for a mixed set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from ..errors import CalculationError, RootstockError, StartupError
from ..evaluation.batch_check import check_batches, write_check
from ..evaluation.budget import AtomBudget, Pace
from ..evaluation.chunk import Chunk, Wanted, evaluate_chunk
from ..evaluation.comparison import describe_deviations
from ..evaluation.engine import DEFAULT_PROPERTIES, Item
from ..structures import from_atoms
from .check import FAILED, Check, outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..runtime.session import Session

__all__ = ["check_batch_function", "mixed_set"]

_NAME = "evaluate_batch() equals the calculator"
_NEIGHBOURS = "evaluate_batch() keeps errors to their structure"
#: Atoms of the largest structure.
_LARGEST = 200
#: Oganesson: no model was trained on it.
_UNKNOWN = 118


def mixed_set(structures: Sequence[Atoms]) -> list[Atoms]:
    """Return structures of 1 to 200 atoms with the elements of the given ones.

    Supercells with displaced atoms, a sheared one, and clusters without periodic boundaries.
    """
    mixed = []
    for seed, atoms in enumerate(structures):
        copies = max(1, _LARGEST // len(atoms))
        for factor in {(1, 1, 1), (2, 1, 1), (2, 2, 1), (copies, 1, 1)}:
            cell = atoms * factor if np.prod(factor) * len(atoms) <= _LARGEST else atoms.copy()
            cell.rattle(0.05, seed=seed)
            mixed.append(cell)
        sheared = atoms.copy()
        shear = [[1, 0.05, 0], [0, 1, 0.03], [0, 0, 1]]
        sheared.set_cell(atoms.cell.array @ shear, scale_atoms=True)
        cluster = Atoms(atoms.get_chemical_symbols(), atoms.positions, info=dict(atoms.info))
        mixed += [sheared, cluster]
    return sorted(mixed, key=len)


def check_batch_function(session: Session, structures: Sequence[Atoms]) -> list[Check]:
    """Compare batches with single evaluations; record the outcome for this kind of device.

    No check is made for an environment file without ``evaluate_batch()``.

    Parameters
    ----------
    session : Session
        The model.
    structures : sequence of Atoms
        Structures that it evaluates; see :func:`mixed_set`.
    """
    if not session.start().evaluates_batches:
        return []
    wanted = Wanted(DEFAULT_PROPERTIES, required=False)
    items = [Item(n, from_atoms(atoms)) for n, atoms in enumerate(mixed_set(structures))]
    try:
        check, _ = check_batches(session, Chunk(tuple(items), wanted), most=len(items))
        if check is None:
            return [Check(_NAME, FAILED, "no two structures could be evaluated")]
        write_check(session, check)
        alone, together = check.seconds_one_by_one, check.seconds_together
        detail = (
            f"{check.structures} structures, {check.natoms} atoms: "
            f"{describe_deviations(check.deviations)}; {alone:.3g} s one by one, "
            f"{together:.3g} s in a batch"
        )
        result = Check(_NAME, outcome(check.passed), "; ".join([*check.problems, detail]))
        return [result, _check_neighbours(session, items[:3], wanted)]
    except (CalculationError, StartupError) as error:
        return [Check(_NAME, FAILED, str(error).partition("\n")[0])]


def _check_neighbours(session: Session, items: list[Item], wanted: Wanted) -> Check:
    """Put a structure with an unknown element among others."""
    unknown = Item(len(items), from_atoms(Atoms([_UNKNOWN] * 2, [[0, 0, 0], [0, 0, 3.0]])))
    chunk = Chunk((items[0], unknown, *items[1:]), wanted, together=True)
    failed = {
        evaluated.item.index
        for evaluated in evaluate_chunk(session, chunk, AtomBudget(), Pace())
        if isinstance(evaluated.outcome, RootstockError)
    }
    lost = failed - {unknown.index}
    detail = "an unknown element is an error" if unknown.index in failed else "element 118 is known"
    return Check(_NEIGHBOURS, outcome(not lost), f"{detail}; {len(lost)} of its neighbours lost")
