"""The ASE calculator that a task's function sees, and what remains of it in returned Atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from ...errors import StructureError
from ...properties import PROPERTIES
from ...structure_calculator import StructureCalculator
from ...structures import from_atoms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...protocol.data import Results, Structure
    from .task import Task

__all__ = ["TaskCalculator", "detach"]


class TaskCalculator(StructureCalculator):
    """A calculator whose calls wait for those of other tasks, and are evaluated with them.

    Copies belong to the same task. When the task has ended it returns the results that it has, and
    calculates nothing any more; so does an unpickled one.

    Parameters
    ----------
    task : Task
        The task that it belongs to.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        super().__init__()
        self.parameters.update(model=task.model)

    def _model(self) -> str:
        return self._task.model

    def _implemented(self) -> tuple[str, ...]:
        return self._task.implemented

    def _known_properties(self) -> tuple[str, ...]:
        return self._task.implemented

    def _calculated(self, structure: Structure, wanted: tuple[str, ...]) -> Results:
        return self._task.evaluate(structure, wanted)

    @property
    def provenance(self) -> Any:
        """Model, environment, device and versions behind the results."""
        return self._task.single_provenance

    def results_for(self, atoms: Atoms) -> dict[str, Any]:
        """Return the results if they are those of `atoms` as they are now, else none."""
        try:
            is_same = from_atoms(atoms, self._structure) is self._structure
        except StructureError:
            return {}
        return self.results if is_same else {}


def detach(value: Any) -> None:
    """Replace the tasks' calculators of all Atoms in a value, also in lists, tuples and dicts.

    Results that belong to the Atoms as they are now go into a ``SinglePointCalculator``.

    Parameters
    ----------
    value : object
        What a function returned.
    """
    for atoms in _atoms_in(value):
        if isinstance(atoms.calc, TaskCalculator):
            atoms.calc = _single_point(atoms, atoms.calc.results_for(atoms))


def _single_point(atoms: Atoms, results: dict[str, Any]) -> Optional[SinglePointCalculator]:
    if not results:
        return None
    known = {
        name: np.asarray(value, np.float64)[()]
        for name, value in results.items()
        if name in PROPERTIES
    }
    calculator = SinglePointCalculator(atoms, **known)
    calculator.results.update({n: v for n, v in results.items() if n not in known})
    return calculator


def _atoms_in(value: Any) -> Iterator[Atoms]:
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Atoms):
            yield part
        elif isinstance(part, (list, tuple, dict)) and id(part) not in seen:
            seen.add(id(part))
            waiting.extend(part.values() if isinstance(part, dict) else part)
