"""Evaluating a few structures in one worker, whatever some of them do to it."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Optional, Union

from ..errors import (
    BatchError,
    CalculationError,
    CallTimeoutError,
    PropertyMissingError,
    StartupError,
    WorkerDiedError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..protocol.data import Results
    from ..runtime.session import Session
    from .budget import AtomBudget, Pace
    from .engine import Item

__all__ = ["Chunk", "Evaluated", "Wanted", "evaluate_chunk", "start_worker"]

#: Workers that a structure may end before it is given up.
_MOST_DEATHS = 2
#: Starts of a worker that may fail in a row before the error is raised.
_MOST_STARTS = 2


@dataclass(frozen=True)
class Wanted:
    """The properties to ask for.

    Attributes
    ----------
    properties : tuple of str
        ASE's names.
    required : bool
        Whether the absence of one is an error; else models return what they have.
    """

    properties: tuple[str, ...]
    required: bool

    @property
    def fewer(self) -> Optional[Wanted]:
        """What to ask for if a structure lacks the last of these: a molecule has no stress."""
        if self.required or len(self.properties) < 2:  # noqa: PLR2004  something has to be left
            return None
        return Wanted(self.properties[:-1], required=False)


@dataclass(frozen=True)
class Chunk:
    """Structures for one request.

    Attributes
    ----------
    items : tuple of Item
        At least one structure.
    wanted : Wanted
        The properties to ask for.
    together : bool
        Whether ``evaluate_batch()`` evaluates them, else one by one.
    """

    items: tuple[Item, ...]
    wanted: Wanted
    together: bool = False

    @property
    def natoms(self) -> int:
        """Number of atoms."""
        return sum(item.natoms for item in self.items)

    def alone(self) -> Chunk:
        """Return the chunk that evaluates the same structures one by one."""
        return replace(self, together=False)

    def one_by_one(self, items: Sequence[Item]) -> list[Chunk]:
        """Return the chunk that evaluates `items` one by one; no chunk without items."""
        return [Chunk(tuple(items), self.wanted)] if items else []

    def halves(self) -> list[Chunk]:
        """Return the chunk in two parts; a single structure is evaluated by itself."""
        if len(self.items) == 1:
            return self.one_by_one(self.items)
        middle = len(self.items) // 2
        return [replace(self, items=part) for part in (self.items[:middle], self.items[middle:])]


@dataclass(frozen=True)
class Evaluated:
    """The outcome of one item.

    Attributes
    ----------
    item : Item
        The structure.
    outcome : dict or RootstockError
        Its results or its error.
    together : bool
        Whether ``evaluate_batch()`` evaluated it.
    """

    item: Item
    outcome: Union[Results, CalculationError, PropertyMissingError]
    together: bool


def evaluate_chunk(
    session: Session,
    chunk: Chunk,
    budget: AtomBudget,
    pace: Pace,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Evaluated]:
    """Evaluate every structure of a chunk; yield their outcomes as they come.

    Structures that are evaluated one by one show which of them ended the worker: the first one
    without a reply. A batch that fails as a whole is cut in two, down to single structures.

    Parameters
    ----------
    session : Session
        A worker, which is replaced when it dies.
    chunk : Chunk
        Any number of structures.
    budget, pace : AtomBudget, Pace
        Learn from the outcome.
    is_cancelled : callable
        Returns true when the outcomes are not needed any more: no worker is replaced any more.

    Raises
    ------
    StartupError
        A worker that died could not be replaced.
    """
    deaths: Counter[int] = Counter()
    queue = deque([chunk])
    while queue and not is_cancelled():
        part = queue.popleft()
        start_worker(session, is_cancelled)
        request, started = _Request(session, part), time.perf_counter()
        yield from request.outcomes()
        error, following = request.error, []
        if error is None:
            _learn(part, time.perf_counter() - started, budget, pace)
        elif part.together:
            if not isinstance(error, BatchError) or error.out_of_memory:
                budget.shrink(part.natoms)
            following += part.halves()
        else:
            culprit, rest = part.items[request.done], part.items[request.done + 1 :]
            deaths[culprit.index] += 1
            if isinstance(error, WorkerDiedError) and deaths[culprit.index] < _MOST_DEATHS:
                following += part.one_by_one([culprit])
            else:
                yield Evaluated(culprit, _named(error, culprit, deaths), together=False)
            following += part.one_by_one(rest)
        if request.lacking and part.wanted.fewer is not None:
            following.append(Chunk(tuple(request.lacking), part.wanted.fewer))
        queue.extendleft(reversed(following))


class _Request:
    """One request and what became of it.

    Attributes
    ----------
    done : int
        How many structures have an outcome.
    lacking : list of Item
        Structures for which the model lacks a property that is not required.
    error : CalculationError or None
        What ended the request before all had an outcome.
    """

    def __init__(self, session: Session, part: Chunk) -> None:
        self._session, self._part = session, part
        self.done = 0
        self.lacking: list[Item] = []
        self.error: Optional[CalculationError] = None

    def outcomes(self) -> Iterator[Evaluated]:
        part = self._part
        replies = self._session.evaluate_batch(
            [item.structure for item in part.items],
            part.wanted.properties,
            together=part.together,
            required=part.wanted.properties if part.wanted.required else (),
        )
        try:
            for item, outcome in zip(part.items, replies):
                self.done += 1
                if isinstance(outcome, PropertyMissingError) and part.wanted.fewer is not None:
                    self.lacking.append(item)
                else:
                    yield Evaluated(item, outcome, part.together)
        except (BatchError, CallTimeoutError, WorkerDiedError) as error:
            self.error = error


def _learn(part: Chunk, seconds: float, budget: AtomBudget, pace: Pace) -> None:
    if part.together:
        budget.record(part.natoms, seconds)
    else:
        pace.record(len(part.items), seconds)


def start_worker(session: Session, is_cancelled: Callable[[], bool] = lambda: False) -> None:
    """Start the worker where needed; a start that fails once is tried again.

    Raises
    ------
    StartupError
        It failed twice.
    """
    for attempt in range(_MOST_STARTS):
        try:
            session.start()
        except StartupError:
            if attempt == _MOST_STARTS - 1 or is_cancelled():
                raise
        else:
            return


def _named(error: CalculationError, item: Item, deaths: Counter[int]) -> CalculationError:
    """Return the error for a structure that ended its workers; it says which one."""
    if not isinstance(error, WorkerDiedError):
        return error
    msg = (
        f"structure {item.index} ({item.natoms} atoms) ended {deaths[item.index]} workers, the "
        f"last one like this: {error}"
    )
    named = WorkerDiedError(msg, error.returncode, error.log_tail)
    named.__cause__ = error
    return named
