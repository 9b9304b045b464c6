"""A committee as one client of i-PI, whose ``ffcommittee`` reads the members from its extras."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ..protocol.data import Structure
    from .calculator import Committee

__all__ = ["ServedCommittee"]


class _Zero:
    """The shifts of the first structure, which all connections share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shifts: Optional[np.ndarray] = None

    def shifts(self, energies: np.ndarray) -> np.ndarray:
        with self._lock:
            if self._shifts is None or len(self._shifts) != len(energies):
                self._shifts = energies - energies.mean()
            return self._shifts


class ServedCommittee:
    """Evaluates structures of one composition with a committee.

    i-PI takes the standard deviation of the members' energies. So these are on one scale: that of
    the committee's alignment; without one each member's energies are shifted to the mean of the
    first structure, since only differences within a composition have a meaning.

    Parameters
    ----------
    committee : Committee
        The members.
    zero : _Zero, optional
        Shifts that copies share.
    """

    def __init__(self, committee: Committee, zero: Optional[_Zero] = None) -> None:
        self._committee = committee
        self._zero = zero or _Zero()

    @property
    def implemented_properties(self) -> Sequence[str]:
        """The properties that all members have; starts the workers."""
        names: list[str] = self._committee.implemented_properties
        return names

    def results_of(self, structure: Structure, wanted: tuple[str, ...]) -> dict[str, Any]:
        """Return the results of a structure; ``energy_comm`` is on one scale, in eV."""
        results = self._committee.results_of(structure, wanted)
        alignment, energies = self._committee.alignment, results["energy_comm"]
        aligned = None
        if alignment is not None:
            aligned = alignment.apply(energies, structure.fixed_inputs.arrays["numbers"])
        if aligned is None:
            aligned = energies - self._zero.shifts(energies)
        return {**results, "energy_comm": aligned}

    def with_own_workers(self) -> ServedCommittee:
        """Return a copy that shares no worker."""
        return ServedCommittee(self._committee.with_own_workers(), self._zero)

    def prepare(self) -> None:
        """Build the members' environments if needed."""
        self._committee.prepare()

    def close(self) -> None:
        """End the workers."""
        self._committee.close()

    def __str__(self) -> str:
        """Name the members."""
        return str(self._committee)
