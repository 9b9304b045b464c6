"""An ASE calculator that keeps its results until anything changes that a model may read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Optional

import numpy as np
from ase.calculators.calculator import Calculator, all_changes, compare_atoms

from .errors import ConfigurationError, PropertyMissingError, StructureError
from .structures import from_atoms, to_atoms
from .support.suggestions import did_you_mean, similar_names

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from ase import Atoms

    from .protocol.data import Structure

__all__ = ["StructureCalculator", "refuse_property"]


class StructureCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """The part of ASE's interface that does not depend on what evaluates structures.

    ASE's own cache compares positions, cell, species and a few more. Models read more: tags,
    further arrays, ``info``.
    """

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self._structure: Optional[Structure] = None
        super().__init__()

    def _call_lock(self) -> threading.RLock:
        """Return the lock that is held during every call."""
        raise NotImplementedError

    def _is_absent(self, name: str) -> bool:
        """Tell if a property is known not to exist."""
        raise NotImplementedError

    def _evaluate(self, structure: Structure, wanted: tuple[str, ...]) -> None:
        """Add results of `structure` to :attr:`results`."""
        raise NotImplementedError

    def _refuse_property(self, name: str) -> NoReturn:
        """Raise :class:`PropertyMissingError` for a property."""
        raise NotImplementedError

    def _calculate(self, atoms: Optional[Atoms], wanted: tuple[str, ...]) -> None:
        with self._call_lock():
            self._evaluate(self._current_structure(atoms), wanted)

    def get_property(
        self,
        name: str,
        atoms: Optional[Atoms] = None,
        allow_calculation: bool = True,  # noqa: FBT001, FBT002  ASE's
    ) -> Any:
        """Return a property, calculating it if `atoms` changed in any way a model can see.

        Returns
        -------
        ndarray or number or None
            A copy in the model's own dtype and shape; None if it is not known and
            `allow_calculation` is false.

        Raises
        ------
        PropertyMissingError
            The model has no such property.
        """
        with self._call_lock():
            structure = self._current_structure(atoms)
            if self._is_absent(name):
                self._refuse_property(name)
            if name not in self.results:
                if not allow_calculation:
                    return None
                self._evaluate(structure, (name,))
            if name not in self.results:
                self._refuse_property(name)
            result = self.results[name]
            return result.copy() if isinstance(result, np.ndarray) else result

    def _current_structure(self, atoms: Optional[Atoms]) -> Structure:
        """Return the structure to evaluate; drop the results of another one."""
        if atoms is None:
            if self._structure is None:
                msg = "no atoms were given and none were calculated before: pass atoms"
                raise StructureError(msg)
            return self._structure
        structure = from_atoms(atoms, self._structure)
        if structure is not self._structure:
            self.results = {}
            self._structure = structure
        return structure

    @property
    def atoms(self) -> Optional[Atoms]:
        """A copy of the Atoms of the last calculation, or None."""
        return None if self._structure is None else to_atoms(self._structure)

    @atoms.setter
    def atoms(self, value: Optional[Atoms]) -> None:
        self._structure = None if value is None else from_atoms(value)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return ASE's names of what changed since the last calculation; empty if nothing did.

        The list is ``["info"]`` if only inputs changed that ASE has no name for: info, tags, ...
        """
        if self._structure is None:
            return list(all_changes)
        if from_atoms(atoms, self._structure) is self._structure:
            return []
        return list(compare_atoms(self.atoms, atoms, tol=tol)) or ["info"]

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Raise if arguments are given: they can't be changed after construction."""
        if kwargs:
            msg = f"{', '.join(kwargs)} can't be changed after construction: make a new calculator"
            raise ConfigurationError(msg)
        return {}


def refuse_property(
    name: str, model: str, implemented: Iterable[str], returned: Iterable[str]
) -> NoReturn:
    """Raise for a property that a model lacks.

    Parameters
    ----------
    name : str
        The property.
    model : str
        Model string.
    implemented, returned : iterable of str
        What the model claims, and what it returned for the structure.

    Raises
    ------
    PropertyMissingError
        Always.
    """
    implemented = list(implemented)
    if name in implemented:
        msg = (
            f"model {model!r} returned no {name} for this structure, although it claims it; it "
            f"returned {', '.join(returned)}"
        )
        raise PropertyMissingError(msg)
    hint = did_you_mean(similar_names(name, implemented))
    msg = f"model {model!r} has no property {name!r}{hint} It has {', '.join(implemented)}."
    raise PropertyMissingError(msg)
