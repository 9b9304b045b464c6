"""Structures that wait for a worker, cut into chunks when a worker asks for the next one."""

from __future__ import annotations

import bisect
import threading
from collections import deque
from typing import TYPE_CHECKING, Optional

from .chunk import Chunk

if TYPE_CHECKING:
    from .engine import Item
    from .policy import Policy

__all__ = ["Backlog"]


class Backlog:
    """Thread-safe; filled by the thread that reads the input, emptied by the workers' threads.

    Parameters
    ----------
    workers : int
        How many workers share it.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._condition = threading.Condition()
        self._waiting: deque[Item] = deque()  # in the order of the input
        self._sorted: list[tuple[int, int, Item]] = []  # by size, ready to be cut into batches
        self._in_flight = 0  # chunks that a worker evaluates
        self._is_complete = False
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sorted)

    def add(self, items: list[Item]) -> None:
        """Add structures."""
        with self._condition:
            self._waiting.extend(items)
            self._condition.notify_all()

    def put_back(self, items: list[Item]) -> None:
        """End a chunk: return those of its structures that a lost worker did not evaluate."""
        with self._condition:
            self._in_flight -= 1
            self._waiting.extendleft(reversed(items))
            self._condition.notify_all()

    def complete(self) -> None:
        """Say that no further structures come."""
        with self._condition:
            self._is_complete = True
            self._condition.notify_all()

    def close(self) -> None:
        """Drop all structures: workers get no further chunk."""
        with self._condition:
            self._is_closed = True
            self._condition.notify_all()

    def is_closed(self) -> bool:
        """Return whether it was closed."""
        return self._is_closed

    def take(self, policy: Policy) -> Optional[Chunk]:
        """Return the next chunk; wait for one. None ends the worker.

        A worker waits as long as another one has a chunk, which comes back if that one is lost.
        Each chunk ends with :meth:`put_back`.

        Parameters
        ----------
        policy : Policy
            Whether the worker evaluates batches, and how many structures or atoms it takes.
        """
        with self._condition:
            while not self._is_closed:
                if self._waiting or self._sorted:
                    self._in_flight += 1
                    return self._cut(policy)
                if self._is_complete and not self._in_flight:
                    return None
                self._condition.wait()
            return None

    def _cut(self, policy: Policy) -> Chunk:
        if policy.together:
            for item in self._waiting:
                bisect.insort(self._sorted, (item.natoms, -item.index, item))
            self._waiting.clear()
            return Chunk(self._largest(policy.budget.atoms), policy.wanted, together=True)
        while self._sorted:  # of workers that evaluate batches, on another device
            self._waiting.appendleft(self._sorted.pop()[2])
        share = len(self._waiting)
        if self._is_complete:  # the end of the work is shared evenly
            share = -(-share // (2 * self._workers))
        number = min(policy.pace.structures, max(1, share), len(self._waiting))
        return Chunk(tuple(self._waiting.popleft() for _ in range(number)), policy.wanted)

    def _largest(self, atoms: int) -> tuple[Item, ...]:
        """Take the largest structures that together fit into a budget; at least one."""
        items: list[Item] = []
        while self._sorted and (not items or self._sorted[-1][0] <= atoms):
            natoms, _, item = self._sorted.pop()
            items.append(item)
            atoms -= natoms
        return tuple(items)
