"""The structures of tasks, read as far ahead as needed."""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Protocol

from ase import Atoms

from ...errors import StructureError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Given", "Inputs", "Source", "copy_of"]

#: Results that may wait for one before them if they are yielded in order.
_WINDOW = 4096


@dataclass(frozen=True)
class Given:
    """A structure and its place in the input; or the error that came instead of it."""

    index: int
    source: Any

    @property
    def natoms(self) -> int:
        """Number of atoms."""
        return len(self.source) if isinstance(self.source, Atoms) else 0


class Source(Protocol):
    """Where a hub gets structures from."""

    def peek(self, active: int) -> Optional[Given]:
        """Return the next structure without taking it; None if there is none, or none yet.

        Parameters
        ----------
        active : int
            Number of structures under way; with 0 it waits for one.
        """
        ...

    def take(self) -> Given:
        """Take the structure that :meth:`peek` returned."""
        ...


class Inputs:
    """Reads an iterable; remembers what it gave until the outcome is there.

    Parameters
    ----------
    structures : iterable of Atoms
        Any length.
    ordered : bool
        Whether outcomes are used in the order of the input: then it stops reading when too many of
        them wait for one.

    Attributes
    ----------
    ordered : bool
        As given.
    order : deque of int
        The indices that were read; with `ordered`, the consumer removes those that it has used.
    error : Exception or None
        What reading raised. What was read before counts.
    """

    def __init__(self, structures: Iterable[Atoms], *, ordered: bool) -> None:
        self.ordered = ordered
        self.order: deque[int] = deque()
        self.error: Optional[Exception] = None
        self._iterator = enumerate(structures)
        self._next: Optional[Given] = None
        self._is_exhausted = False
        self._sources: dict[int, Any] = {}

    def peek(self, active: int) -> Optional[Given]:
        """Return the next structure without taking it; None if there is none, or no room for it."""
        del active  # with nothing under way there is always room
        if self._next is None and not self._is_exhausted and self._has_room():
            try:
                self._next = Given(*next(self._iterator))
            except StopIteration:
                self._is_exhausted = True
            except Exception as error:  # noqa: BLE001  raised when what was read is done
                self._is_exhausted, self.error = True, error
        return self._next

    def take(self) -> Given:
        """Take the structure that :meth:`peek` returned."""
        given, self._next = self._next, None
        if given is None:
            msg = "there is nothing to take"
            raise RuntimeError(msg)
        self._sources[given.index] = given.source
        if self.ordered:
            self.order.append(given.index)
        return given

    def pop(self, index: int) -> Any:
        """Return a structure whose outcome is there, and forget it."""
        return self._sources.pop(index)

    def _has_room(self) -> bool:
        return not self.order or len(self._sources) < _WINDOW


def copy_of(source: Any) -> Atoms:
    """Return a copy of the Atoms for a task, without their calculator.

    Raises
    ------
    StructureError
        The input has something else.
    """
    if isinstance(source, Exception):
        raise source
    if not isinstance(source, Atoms):
        msg = f"a structure has to be ASE's Atoms, not {type(source).__name__}"
        raise StructureError(msg)
    atoms = source.copy()
    with contextlib.suppress(Exception):  # what can't be copied is shared
        atoms.info = copy.deepcopy(source.info)  # ASE copies the dict alone
    return atoms
