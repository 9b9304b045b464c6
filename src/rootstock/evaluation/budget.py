"""How many atoms go into one request."""

from __future__ import annotations

import threading
from typing import Optional

__all__ = ["AtomBudget", "Pace"]

#: Atoms of the first batch: little memory on any GPU, and enough to see whether more pays.
_FIRST = 256
#: A batch twice as large has to raise the throughput by this factor for the budget to grow.
_WORTHWHILE = 1.05
#: Seconds that a request of structures evaluated one by one should take, and its most structures.
_REQUEST_SECONDS = 0.1
_MOST_STRUCTURES = 64


class AtomBudget:
    """The number of atoms that one batch may hold: grows with throughput, halves without memory.

    There is no probing before the work: each batch of the user's own structures is a measurement.
    Thread-safe: the workers on devices of one kind share a budget.

    Parameters
    ----------
    fixed : int, optional
        A budget that never grows; it still halves when memory runs out.
    remembered : int, optional
        The budget of an earlier run on the same kind of device.

    Attributes
    ----------
    atoms : int
        The budget now.
    """

    def __init__(self, fixed: Optional[int] = None, remembered: Optional[int] = None) -> None:
        self.atoms = fixed or remembered or _FIRST
        self._grows = fixed is None and remembered is None
        self._throughput = 0.0
        self._lock = threading.Lock()

    @property
    def is_settled(self) -> bool:
        """Whether the largest size that pays was found, or given."""
        return not self._grows

    def record(self, natoms: int, seconds: float) -> None:
        """Take note of a batch that was evaluated; grow if batches of this size pay."""
        with self._lock:
            if not self._grows or natoms < 0.75 * self.atoms:
                return  # not full: it says nothing about a full one
            throughput = natoms / max(seconds, 1e-9)
            if throughput > _WORTHWHILE * self._throughput:
                self._throughput = throughput
                self.atoms *= 2
            else:
                self._grows = False
                self.atoms = max(1, self.atoms // 2)

    def shrink(self, natoms: int) -> None:
        """Take note of a batch that did not fit into memory."""
        with self._lock:
            self._grows = False
            self.atoms = max(1, min(self.atoms, natoms // 2))


class Pace:
    """How many structures go into a request if they are evaluated one by one.

    Enough to make the round trip cheap, few enough that workers share the work evenly.
    """

    def __init__(self) -> None:
        self._seconds = _REQUEST_SECONDS / 12  # of one structure; a guess

    @property
    def structures(self) -> int:
        """The number of structures of the next request."""
        return max(1, min(_MOST_STRUCTURES, int(_REQUEST_SECONDS / self._seconds)))

    def record(self, structures: int, seconds: float) -> None:
        """Take note of a request that was answered."""
        self._seconds = max(seconds / structures, 1e-9)
