"""The outcome of a function for one structure: :class:`TaskResult`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["TaskResult"]


@dataclass(frozen=True)
class TaskResult:
    """The outcome of a function for one structure.

    Attributes
    ----------
    index : int
        The structure's place in the input, from 0.
    source : Atoms
        The input itself, which the function did not see: it got a copy.
    error : Exception or None
        What the function raised, with its traceback.
    steps : int
        Number of force calls.
    provenance : Provenance or Any
        How they were computed: if some of them in batches, as those. None without a force call.
    """

    index: int
    source: Atoms
    _value: Any = field(repr=False, compare=False)
    error: Optional[Exception] = None
    steps: int = 0
    provenance: Any = field(default=None, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether the function returned."""
        return self.error is None

    @property
    def value(self) -> Any:
        """What the function returned.

        Raises
        ------
        Exception
            :attr:`error`, if there is one.
        """
        if self.error is not None:
            raise self.error
        return self._value
