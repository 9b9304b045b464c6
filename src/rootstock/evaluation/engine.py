"""What evaluates a stream of structures: the interface of pools, executors and plain evaluators.

A stream consists of *entries*: structures to evaluate, or outcomes that are known already, because
a structure was refused or its results are in a store. An engine yields an outcome for each entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Protocol, TypeVar, Union

from ..errors import ExecutorError, PropertyMissingError

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Generator, Iterable, Iterator

    from ase import Atoms

    from ..protocol.data import Structure
    from .evaluator import Evaluator, Outcome

__all__ = ["DEFAULT_PROPERTIES", "Completed", "Engine", "Entry", "Item", "OneByOne", "in_order"]

#: What models are asked for by default; those that lack some of them return the rest.
DEFAULT_PROPERTIES = ("energy", "forces", "stress")


@dataclass(frozen=True)
class Item:
    """A structure to evaluate.

    Attributes
    ----------
    index : int
        Its place in the input.
    structure : Structure
        What the model may read; positions and cell in Å.
    source : Atoms or None
        The input itself, with what no model reads: momenta, constraints.
    """

    index: int
    structure: Structure
    source: Optional[Atoms] = None

    @property
    def natoms(self) -> int:
        """Number of atoms."""
        return len(self.structure.positions)


@dataclass(frozen=True)
class Completed:
    """The outcome of a structure.

    Attributes
    ----------
    index : int
        Its place in the input.
    outcome : dict or RootstockError
        Results in ASE's units, or the error.
    provenance : Provenance or Any
        How it was evaluated; None for a structure that was refused before.
    source : Atoms or None
        The input itself, of a structure that was refused.
    stored : bool
        Whether it was in a store.
    """

    index: int
    outcome: Outcome
    provenance: Any
    source: Optional[Atoms] = None
    stored: bool = False


Entry = Union[Item, Completed]


class Engine(Protocol):
    """Evaluates a stream of structures."""

    @property
    def provenance(self) -> Any:
        """How results are computed; may start a worker."""
        ...

    def run(self, entries: Iterable[Entry], *, ordered: bool) -> Generator[Completed, None, None]:
        """Yield the outcomes of entries as they come; closing the generator ends the work.

        Parameters
        ----------
        entries : iterable of Item or Completed
            Rising indices. Read as far ahead as needed; a known outcome is passed on. Without an
            item no worker starts.
        ordered : bool
            Whether the consumer waits for the lowest index, which limits how far the engine reads.
        """
        ...

    def close(self) -> None:
        """End the workers; more than once does nothing."""
        ...


class OneByOne:
    """An engine of any evaluator.

    Parameters
    ----------
    evaluator : Evaluator
        Gets one structure after the other; stays open.
    properties : tuple of str, optional
        The properties to ask for, each of which is required; by default energy, forces and stress,
        as far as a structure has them.
    """

    def __init__(self, evaluator: Evaluator, properties: Optional[tuple[str, ...]] = None) -> None:
        self._evaluator = evaluator
        self._properties = properties

    @property
    def provenance(self) -> Any:
        """The evaluator's provenance."""
        return self._evaluator.provenance

    def run(self, entries: Iterable[Entry], *, ordered: bool) -> Generator[Completed, None, None]:
        """Yield the outcomes of entries, in order."""
        del ordered
        for entry in entries:
            if isinstance(entry, Completed):
                yield entry
            else:
                yield Completed(entry.index, self._outcome(entry), self._evaluator.provenance)

    def _outcome(self, item: Item) -> Outcome:
        names = self._properties or DEFAULT_PROPERTIES
        (outcome,) = self._evaluator.evaluate([item.structure], names)
        while self._properties is None and isinstance(outcome, PropertyMissingError) and names[1:]:
            names = names[:-1]  # a molecule has no stress
            (outcome,) = self._evaluator.evaluate([item.structure], names)
        return outcome

    def close(self) -> None:
        """Do nothing: the evaluator is its owner's."""


class _Indexed(Protocol):
    @property
    def index(self) -> int: ...


_T = TypeVar("_T", bound=_Indexed)


def in_order(completed: Iterable[_T], indices: deque[int]) -> Iterator[_T]:
    """Yield outcomes in the order of the input, each as soon as those before it are there.

    Parameters
    ----------
    completed : iterable of Completed, or of anything else with an index
        In any order.
    indices : deque of int
        The indices of what was read, in the order of the input; those that are yielded go.
    """
    waiting: dict[int, _T] = {}
    try:
        for entry in completed:
            waiting[entry.index] = entry
            while indices and indices[0] in waiting:
                yield waiting.pop(indices.popleft())
    except ExecutorError:  # those before never come: return what had finished
        for index in sorted(waiting):
            yield waiting[index]
        raise
