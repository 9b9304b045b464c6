"""Several models as one ASE calculator: :class:`Committee`."""

from __future__ import annotations

import copy
import os
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
from ase.calculators.calculator import all_properties

from .._version import __version__
from ..errors import ConfigurationError, PropertyMissingError, RootstockError
from ..properties import PROPERTIES, property_names, require_properties
from ..structure_calculator import StructureCalculator
from ..structures import from_atoms
from .alignment import Alignment, fit_alignment
from .concurrent import call_concurrently
from .members import SMALLEST, make_members, named_error, warn_about_levels
from .reference import calibrate
from .statistics import combine, normalised

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ase import Atoms
    from typing_extensions import Self, Unpack

    from ..evaluation.evaluator import Outcome
    from ..protocol.data import Results, Structure
    from ..runtime.arguments import CalculatorArguments
    from .calibration import Calibration
    from .members import Member

__all__ = ["Committee"]


class Committee(StructureCalculator):
    """An ASE calculator of several models, which run at the same time, each in its environment.

    Parameters
    ----------
    members : sequence of str or RootstockCalculator
        Model strings, which get `arguments`, or calculators. At least two.
    weights : sequence of float, optional
        One for each member; equal by default.
    devices : sequence of str, optional
        The device of each member; by default `device` for all.
    align : Alignment, path-like or sequence of Atoms, optional
        Puts the members' energies on one scale: an alignment, its file, or structures to fit it to
        at the first calculation. Without it there is no spread of energies.
    on_error : str
        ``"raise"``, or ``"drop"``: a member that fails is left out from then on, with a warning.
        The mean then jumps: not for dynamics.
    **arguments
        Those of :class:`rootstock.RootstockCalculator`. Members on the CPU share its cores.

    Raises
    ------
    ConfigurationError
        Fewer than two members, or invalid weights, devices or arguments.

    Notes
    -----
    Results are documented at :func:`rootstock.committee.combine`: the mean under ASE's names,
    ``forces_std`` (eV/Å, for each atom), ``forces_std_max``, the members' own values as
    ``<name>_comm``, and so on. Their spread is disagreement, not an uncertainty, until
    :meth:`calibrate`.

    Attributes
    ----------
    members : list of RootstockCalculator
        The members that are left.
    dropped : dict of str to str
        Why members were left out.
    alignment : Alignment or None
        Of the energies.
    calibration : Calibration or None
        Of the spread.
    """

    name = "committee"

    def __init__(
        self,
        members: Sequence[Member],
        *,
        weights: Optional[Sequence[float]] = None,
        devices: Optional[Sequence[str]] = None,
        align: Union[Alignment, str, os.PathLike[str], Sequence[Atoms], None] = None,
        on_error: str = "raise",
        **arguments: Unpack[CalculatorArguments],
    ) -> None:
        if on_error not in ("raise", "drop"):
            msg = f"on_error={on_error!r} must be 'raise' or 'drop'"
            raise ConfigurationError(msg)
        self.members = make_members(members, devices, arguments)
        self.dropped: dict[str, str] = {}
        self.on_error = on_error
        self.weights = None if weights is None else normalised(weights, len(self.members)).tolist()
        self.calibration: Optional[Calibration] = None
        self.alignment: Optional[Alignment] = None
        self._to_align: Optional[Sequence[Atoms]] = None
        self._set_alignment(align)
        self._lock = threading.RLock()
        super().__init__()
        self.parameters.update(members=self.names, weights=self.weights, on_error=on_error)
        warn_about_levels(self.members)

    @property
    def names(self) -> list[str]:
        """The members' model strings."""
        return [member.spec.model for member in self.members]

    def _set_alignment(self, align: Any) -> None:
        if isinstance(align, (str, os.PathLike)):
            align = Alignment.load(Path(align))
        if not isinstance(align, Alignment):
            self._to_align = None if align is None else list(align)
            return
        if list(align.members) != self.names:
            msg = (
                f"the alignment is for {', '.join(align.members)}, and this committee has "
                f"{', '.join(self.names)}: give the same members in the same order, or fit it again"
            )
            raise ConfigurationError(msg)
        self.alignment = align

    # --- ASE ------------------------------------------------------------------------------------

    def _locked(self) -> threading.RLock:
        return self._lock

    def _model(self) -> str:
        return " + ".join(self.names)

    def _implemented(self) -> list[str]:
        known = [set(member.implemented_properties) for member in self.members]
        return [name for name in all_properties if all(name in names for names in known)]

    def _known_properties(self) -> None:
        """Return nothing: results have more names than ASE's."""

    def results_of(self, structure: Structure, wanted: tuple[str, ...]) -> dict[str, Any]:
        """Return the committee's results of a structure; :attr:`results` stay as they are.

        Raises
        ------
        RootstockError
            A member failed; the message names it.
        """
        with self._lock:
            self._fit_if_needed()
            return self._combined(structure, wanted)

    def _combined(self, structure: Structure, wanted: tuple[str, ...]) -> dict[str, Any]:
        self._start_members()
        implemented = self._implemented()
        for name in wanted:
            if name in PROPERTIES and name not in implemented:
                self._refuse_property(name)
        named = dict.fromkeys(("energy", "forces", *(n for n in wanted if n in PROPERTIES)))
        results = self._of_members(structure, tuple(n for n in named if n in implemented))
        aligned = None
        if self.alignment is not None:
            energies = np.array([float(np.asarray(r["energy"]).reshape(())) for r in results])
            aligned = self.alignment.apply(energies, structure.fixed_inputs.arrays["numbers"])
        natoms = len(structure.positions)
        combined = combine(results, self.weights, aligned, natoms)
        if self.calibration is not None:
            combined |= self.calibration.uncertainties(combined, aligned, natoms)
        return combined

    def _start_members(self) -> None:
        """Start the workers that never ran, at the same time; builds come one after the other."""
        idle = [n for n, member in enumerate(self.members) if not member.is_started]
        if idle:
            self.prepare()
            calls = [partial(getattr, self.members[n], "report") for n in idle]
            self._take_out(dict(zip(idle, call_concurrently(calls, self.members))))

    def _of_members(self, structure: Structure, wanted: tuple[str, ...]) -> list[Results]:
        """Return the results of all members that are left; drop those that fail if asked to."""
        calls = [partial(member.results_of, structure, wanted) for member in self.members]
        outcomes = call_concurrently(calls, self.members)
        self._take_out(dict(enumerate(outcomes)))
        return [outcome for outcome in outcomes if not isinstance(outcome, RootstockError)]

    def _take_out(self, outcomes: dict[int, Any]) -> None:
        """Raise the first error among the outcomes of members, or drop the members that failed."""
        failed = {n: o for n, o in outcomes.items() if isinstance(o, RootstockError)}
        for number, error in failed.items():
            if self.on_error == "raise" or isinstance(error, PropertyMissingError):
                raise named_error(error, self.names[number])
        if failed:
            self._drop({n: str(error).partition("\n")[0] for n, error in failed.items()})

    def _drop(self, failed: dict[int, str]) -> None:
        reasons = {self.names[number]: reason for number, reason in failed.items()}
        listed = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        left = len(self.members) - len(failed)
        if left < SMALLEST:
            msg = f"{left} of {len(self.members)} members are left. {listed}"
            raise ConfigurationError(msg)
        warnings.warn(
            f"left out of the committee: {listed}. The mean of the other {left} is another "
            "potential, without alignment and calibration",
            RuntimeWarning,
            stacklevel=2,
        )
        self.dropped.update(reasons)
        self.alignment = self.calibration = None  # they are those of all members
        self.results = {}
        for number in sorted(failed, reverse=True):
            self.members.pop(number).close()
            if self.weights is not None:
                del self.weights[number]

    # --- energies on one scale, and calibration ---------------------------------------------------

    def fit_alignment(self, structures: Iterable[Atoms]) -> Alignment:
        """Fit the shifts that put the members' energies on one scale; use them from now on.

        Raises
        ------
        ConfigurationError
            Too few structures.
        """
        entries = [from_atoms(atoms) for atoms in structures]
        self._start_members()
        size = 0
        while size != len(self.members):  # again if a member was dropped
            size = len(self.members)
            energies = [self._energies(entry) for entry in entries]
        numbers = [entry.fixed_inputs.arrays["numbers"] for entry in entries]
        self.alignment = fit_alignment(self.names, np.array(energies).T, numbers)
        self._to_align = None
        self.results = {}
        if not self.alignment.is_complete:
            warnings.warn(
                f"{len(numbers)} structures span {self.alignment.rank} of "
                f"{len(self.alignment.elements)} elements' compositions: energies of others than "
                "these have no spread",
                RuntimeWarning,
                stacklevel=2,
            )
        return self.alignment

    def _energies(self, structure: Structure) -> list[float]:
        results = self._of_members(structure, ("energy",))
        return [float(np.asarray(entry["energy"]).reshape(())) for entry in results]

    def _fit_if_needed(self) -> None:
        if self._to_align is not None:
            self.fit_alignment(self._to_align)

    def calibrate(self, reference: Iterable[Atoms]) -> Calibration:
        """Find the factors from the spread to the expected error; use them from now on.

        Results then also hold ``forces_uncertainty`` (eV/Å, for each atom) and, for aligned
        energies, ``energy_uncertainty_per_atom`` (eV/atom).

        Parameters
        ----------
        reference : iterable of Atoms
            With energies or forces of the reference method (for example from an extended XYZ
            file), on its own scale of energies.

        Raises
        ------
        ConfigurationError
            Fewer than four members, weights that differ, or no reference values.
        """
        if self.weights is not None and len(set(self.weights)) > 1:
            msg = (
                "a committee with weights can't be calibrated: the factor is derived for equal "
                "ones. Leave weights out"
            )
            raise ConfigurationError(msg)
        self._fit_if_needed()
        self.calibration = calibrate(self._reference_results, self.alignment, reference)
        self.results = {}
        return self.calibration

    def _reference_results(self, atoms: Atoms) -> dict[str, Any]:
        return self.results_of(from_atoms(atoms), ("energy", "forces"))

    # --- i-PI -----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Build the members' environments if needed, one after the other."""
        for member in self.members:
            member.prepare()

    def with_own_workers(self) -> Committee:
        """Return a copy that shares no worker."""
        twin = copy.copy(self)
        twin.members = [member.with_own_workers() for member in self.members]
        return twin

    # --- evaluator --------------------------------------------------------------------------------

    def evaluate(
        self, structures: Iterable[Structure], properties: Iterable[str]
    ) -> Iterator[Outcome]:
        """Yield the committee's results of each structure, or its error, in order."""
        wanted = property_names(properties)
        for structure in structures:
            try:
                results = self.results_of(structure, wanted)
                require_properties(results, wanted)
                outcome: Outcome = results
            except RootstockError as error:
                outcome = error
            yield outcome

    @property
    def provenance(self) -> dict[str, Any]:
        """Provenance of all members, weights, alignment and calibration; starts the workers."""
        return {
            "rootstock": __version__,
            "members": [member.provenance.as_dict() for member in self.members],
            "dropped": dict(self.dropped),
            "weights": self.weights,
            "alignment": None if self.alignment is None else self.alignment.as_dict(),
            "calibration": None if self.calibration is None else self.calibration.as_dict(),
        }

    def close(self) -> None:
        """Release the workers; the next calculation starts them again."""
        for member in self.members:
            member.close()

    def __enter__(self) -> Self:
        """Return the committee itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Release the workers."""
        self.close()

    # --- copies ---------------------------------------------------------------------------------

    def _copied(self, results: dict[str, Any]) -> Committee:
        twin = super()._copied(results)
        twin.__setstate__(twin.__getstate__())
        twin.members = [copy.copy(member) for member in self.members]
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the lock; members start their own workers elsewhere."""
        state = {name: value for name, value in vars(self).items() if name != "_lock"}
        for name in ("weights", "members"):
            state[name] = None if state[name] is None else list(state[name])
        return {**state, "dropped": dict(self.dropped)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a state."""
        self.__dict__.update(state, _lock=threading.RLock())

    def __repr__(self) -> str:
        """Name the members."""
        return f"{type(self).__name__}({self.names!r})"
