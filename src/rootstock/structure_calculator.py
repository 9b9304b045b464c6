"""The base of Rootstock's ASE calculators: when a result is calculated again, ASE's interface."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NoReturn, Optional

import numpy as np
from ase.calculators.calculator import Calculator, all_changes, all_properties, compare_atoms

from .errors import ConfigurationError, PropertyMissingError, StructureError
from .structures import from_atoms, to_atoms
from .support.suggestions import did_you_mean, similar_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ase import Atoms
    from typing_extensions import Self

    from .protocol.data import Results, Structure

__all__ = ["StructureCalculator"]


class _ImplementedProperties:
    """ASE's list of properties on the class; the model's own on an instance."""

    def __get__(self, instance: Optional[StructureCalculator], owner: type) -> list[str]:
        if instance is None:
            return list(all_properties)
        return list(instance._implemented())  # noqa: SLF001  the same module


class StructureCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """An ASE calculator that calculates again when anything changed that a model may read.

    Subclasses say where results come from: :meth:`_calculated`, :meth:`_implemented` and
    :meth:`_model`. Where calls may come from several threads, :meth:`_locked` serialises them.
    """

    name = "rootstock"
    implemented_properties = _ImplementedProperties()

    def __init__(self) -> None:
        self.results: dict[str, Any] = {}
        self._structure: Optional[Structure] = None
        super().__init__()

    def _calculated(self, structure: Structure, wanted: tuple[str, ...]) -> Results:
        """Return the model's results for `structure`; `wanted` are properties that it has."""
        raise NotImplementedError

    def _implemented(self) -> Sequence[str]:
        """Return the model's properties; may start a worker."""
        raise NotImplementedError

    def _known_properties(self) -> Optional[Sequence[str]]:
        """Return the model's properties if they are known without starting a worker."""
        raise NotImplementedError

    def _model(self) -> str:
        """Return the model string, for messages."""
        raise NotImplementedError

    def _locked(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext()

    def calculate(
        self,
        atoms: Optional[Atoms] = None,
        properties: Iterable[str] = ("energy",),
        system_changes: Iterable[str] = all_changes,  # noqa: ARG002  ASE's; changes are detected here
    ) -> None:
        """Calculate `properties` of `atoms`; :attr:`results` then holds all results of the model.

        Raises
        ------
        StructureError
            No atoms, or positions that are not finite.
        PropertyMissingError
            The model has no such property.
        ModelError, WorkerDiedError, CallTimeoutError
            The calculation failed; the next one may be tried on this same calculator.
        """
        wanted = (properties,) if isinstance(properties, str) else tuple(properties)
        with self._locked():
            structure = self._current_structure(atoms)
            results = self.results_of(structure, wanted)
            self.results.update(results)

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
        with self._locked():
            structure = self._current_structure(atoms)
            known = self._known_properties()
            if known is not None and name not in known:
                self._refuse_property(name)
            if name not in self.results:
                if not allow_calculation:
                    return None
                results = self.results_of(structure, (name,))
                self.results.update(results)
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

    def results_of(self, structure: Structure, wanted: tuple[str, ...]) -> Results:
        """Return the results of a structure; :attr:`results` stay as they are.

        Raises
        ------
        PropertyMissingError, ModelError, WorkerDiedError, CallTimeoutError
            As for :meth:`calculate`.
        """
        implemented = self._implemented()
        for name in wanted:
            if name not in implemented:
                self._refuse_property(name)
        return self._calculated(structure, wanted)

    def _refuse_property(self, name: str) -> NoReturn:
        implemented = self._implemented()
        if name in implemented:
            msg = (
                f"model {self._model()!r} returned no {name} for this structure, although it "
                f"claims it; it returned {', '.join(self.results)}"
            )
            raise PropertyMissingError(msg)
        hint = did_you_mean(similar_names(name, implemented))
        msg = (
            f"model {self._model()!r} has no property {name!r}{hint} "
            f"It has {', '.join(implemented)}."
        )
        raise PropertyMissingError(msg)

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

    def get_spin_polarized(self) -> bool:
        """Return whether the model has magnetic moments."""
        return "magmoms" in self._implemented()

    def __copy__(self) -> Self:
        """Return a copy that shares the worker."""
        return self._copied(dict(self.results))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy that shares the worker."""
        results = {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in self.results.items()
        }
        memo[id(self)] = twin = self._copied(results)
        return twin

    def _copied(self, results: dict[str, Any]) -> Self:
        twin = type(self).__new__(type(self))
        parameters = type(self.parameters)(self.parameters)
        twin.__dict__.update(vars(self), parameters=parameters, results=results)
        return twin
