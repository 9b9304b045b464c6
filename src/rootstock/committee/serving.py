"""A committee as one client of i-PI, whose ``ffcommittee`` reads the members from its extras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from ..protocol.data import Structure
    from .calculator import Committee

__all__ = ["ServedCommittee"]


class ServedCommittee:
    """Evaluates structures of one composition with a committee.

    i-PI takes the standard deviation of the members' energies. So these are on one scale: that of
    the committee's alignment; without one each member's energies are shifted to the mean of the
    first structure, since only differences within a composition have a meaning.

    Parameters
    ----------
    committee : Committee
        The members.
    """

    def __init__(self, committee: Committee) -> None:
        self._committee = committee
        self._shifts: Optional[np.ndarray] = None

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
            if self._shifts is None or len(self._shifts) != len(energies):
                self._shifts = energies - energies.mean()
            aligned = energies - self._shifts
        return {**results, "energy_comm": aligned}

    def with_own_workers(self) -> ServedCommittee:
        """Return a copy that shares no worker."""
        return ServedCommittee(self._committee.with_own_workers())

    def prepare(self) -> None:
        """Build the members' environments if needed."""
        self._committee.prepare()

    def close(self) -> None:
        """End the workers."""
        self._committee.close()

    def __str__(self) -> str:
        """Name the members."""
        return str(self._committee)
