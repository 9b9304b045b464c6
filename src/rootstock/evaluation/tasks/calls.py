"""Force calls of many tasks, evaluated together: by a worker, or by any evaluator."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Optional, Protocol

from ase.calculators.calculator import all_properties

from ...errors import CalculationError, PropertyMissingError
from ..chunk import Chunk, Wanted, evaluate_chunk
from ..engine import DEFAULT_PROPERTIES, Item
from ..policy import Policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ...protocol.data import Structure
    from ...runtime.session import Session
    from ..chunk import Evaluated
    from ..evaluator import Evaluator, Outcome

__all__ = ["Calls", "EvaluatorCalls", "Reply", "Request", "SessionCalls"]

#: Tasks at a time where batches are evaluated; beyond, what waits in memory grows for nothing.
_MOST_ACTIVE = 1024
#: Tasks at a time while it is not known yet whether batches are used: enough to compare.
_FOR_CHECK = 12
#: Tasks at a time where structures are evaluated one by one. More gain nothing, and a model that
#: keeps a neighbour list or a box from call to call is slower if structures alternate.
_ONE_BY_ONE = 1


@dataclass(frozen=True)
class Request:
    """A call of a task's calculator.

    Attributes
    ----------
    index : int
        The task's place in the input.
    structure : Structure
        What to evaluate.
    required : tuple of str
        The properties that the call asked for.
    further : tuple of str
        Properties that the function is likely to ask for next, of the same structure.
    """

    index: int
    structure: Structure
    required: tuple[str, ...]
    further: tuple[str, ...] = ()

    @property
    def natoms(self) -> int:
        """Number of atoms."""
        return len(self.structure.positions)

    @property
    def properties(self) -> tuple[str, ...]:
        """All of them, in an order that does not depend on which one was asked for."""
        names = set(self.required + self.further)
        usual = [name for name in DEFAULT_PROPERTIES if name in names]
        return (*usual, *sorted(names.difference(usual)))


@dataclass(frozen=True)
class Reply:
    """The results of a request or its error, and how they were computed."""

    outcome: Outcome
    provenance: Any


class Calls(Protocol):
    """Evaluates the force calls of tasks."""

    #: Name of the model, for messages.
    model: str
    #: Whether calls ask for nothing but what the function asked for.
    exact: bool

    @property
    def implemented(self) -> tuple[str, ...]:
        """The model's properties; known after the start."""
        ...

    @property
    def provenance(self) -> Any:
        """How single structures are evaluated."""
        ...

    def start(self) -> None:
        """Start what evaluates."""
        ...

    def has_room(self, active: int, natoms: int, following: int) -> bool:
        """Tell if a further task of `following` atoms fits beside those that are active."""
        ...

    def evaluate(self, requests: Sequence[Request]) -> list[Reply]:
        """Evaluate requests together; return their replies in order."""
        ...

    def evaluate_now(self, request: Request) -> Reply:
        """Evaluate one request by itself, in any thread."""
        ...

    def finish(self) -> None:
        """Record what was learned, at the end of all tasks."""
        ...

    def close(self) -> None:
        """End what evaluates."""
        ...


class SessionCalls:
    """Force calls that a worker evaluates.

    Parameters
    ----------
    session : Session
        The worker; closed with this object.
    batch_atoms : int, optional
        A fixed budget of atoms for a batch.
    exact : bool
        Evaluate structures one by one, and ask for nothing but what the function asked for.
    """

    def __init__(self, session: Session, batch_atoms: Optional[int], *, exact: bool) -> None:
        self.model = session.spec.model
        self.exact = exact
        self._session = session
        wanted = Wanted(DEFAULT_PROPERTIES, required=False)
        self._policies = Policies(wanted, batch_atoms, exact=exact)
        self._implemented: tuple[str, ...] = ()
        self._provenances: dict[tuple[bool, int], Any] = {}
        self._checked: set[Wanted] = set()

    @property
    def implemented(self) -> tuple[str, ...]:
        """The model's properties."""
        return self._implemented

    @property
    def provenance(self) -> Any:
        """How single structures are evaluated."""
        return self._provenance_of(together=False)

    def start(self) -> None:
        """Start the worker.

        Raises
        ------
        StartupError
            It did not start.
        """
        self._implemented = self._session.start().implemented_properties
        self._policy = self._policies.of(self._session)

    def has_room(self, active: int, natoms: int, following: int) -> bool:
        """Tell if a further task of `following` atoms fits beside those that are active."""
        if not self._policy.is_decided:
            return active < _FOR_CHECK
        if self._policy.together:
            return active < _MOST_ACTIVE and natoms + following <= self._policy.budget.atoms
        return active < _ONE_BY_ONE

    def evaluate(self, requests: Sequence[Request]) -> list[Reply]:
        """Evaluate requests together; return their replies in order.

        Raises
        ------
        StartupError
            The worker died and could not be replaced.
        """
        items = [Item(request.index, request.structure) for request in requests]
        groups: dict[tuple[str, ...], list[Item]] = defaultdict(list)
        for request, item in zip(requests, items):
            groups[request.properties].append(item)
        replies: dict[int, Reply] = {}
        for properties, group in groups.items():
            for evaluated in self._evaluate(group, Wanted(properties, required=False)):
                provenance = self._provenance_of(together=evaluated.together)
                replies[id(evaluated.item)] = Reply(evaluated.outcome, provenance)
        return [replies[id(item)] for item in items]

    def _evaluate(self, items: list[Item], wanted: Wanted) -> Iterable[Evaluated]:
        policy = self._policy
        checked = DEFAULT_PROPERTIES if policy.check is None else policy.check.properties
        is_covered = set(wanted.properties) <= set(checked)
        if policy.together and is_covered:
            return self._in_batches(items, wanted)
        chunk = Chunk(tuple(items), wanted)
        if len(items) > 1 and self._needs_check(wanted, is_covered=is_covered):
            more = [name for name in wanted.properties if name not in checked]
            both = Wanted((*checked, *more), required=False)
            return policy.check_on(self._session, replace(chunk, wanted=both))
        return evaluate_chunk(self._session, chunk, policy.budget, policy.pace)

    def _needs_check(self, wanted: Wanted, *, is_covered: bool) -> bool:
        """Tell if ``evaluate_batch()`` is to be checked: at first, and for other properties."""
        policy = self._policy
        if policy.together and not is_covered and wanted not in self._checked:
            self._checked.add(wanted)
            return True
        return policy.needs_check()

    def _in_batches(self, items: list[Item], wanted: Wanted) -> Iterator[Evaluated]:
        """Cut batches that fit into the budget, the largest structures first."""
        budget, pace = self._policy.budget, self._policy.pace
        waiting = sorted(items, key=lambda item: -item.natoms)
        while waiting:
            room = budget.atoms
            batch: list[Item] = []
            rest: list[Item] = []
            for item in waiting:
                if not batch or item.natoms <= room:
                    batch.append(item)
                    room -= item.natoms
                else:
                    rest.append(item)
            waiting = rest
            chunk = Chunk(tuple(batch), wanted, together=True)
            yield from evaluate_chunk(self._session, chunk, budget, pace)

    def evaluate_now(self, request: Request) -> Reply:
        """Evaluate one request by itself, in any thread."""
        outcome: Outcome
        try:
            outcome = self._session.evaluate_one(request.structure, request.required)
        except (CalculationError, PropertyMissingError) as error:
            outcome = error
        return Reply(outcome, self._provenance_of(together=False))

    def _provenance_of(self, *, together: bool) -> Any:
        policy = self._policy
        key = (together, policy.budget.atoms if together else 0)
        if key not in self._provenances:
            provenance = self._session.provenance
            if together and policy.check is not None:
                deviations = dict(policy.check.deviations)
                provenance = replace(
                    provenance, evaluation="batch", atom_budget=key[1], batch_deviation=deviations
                )
            self._provenances[key] = provenance
        return self._provenances[key]

    def finish(self) -> None:
        """Record the budget for the next run."""
        self._policy.keep(self._session)

    def close(self) -> None:
        """End the worker."""
        self._session.close()


class EvaluatorCalls:
    """Force calls of any evaluator, which stays open.

    Parameters
    ----------
    evaluator : Evaluator
        Gets the structures of all tasks that ask for the same properties.
    """

    model = "evaluator"
    exact = True
    implemented = tuple(all_properties)

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._lock = threading.Lock()

    @property
    def provenance(self) -> Any:
        """The evaluator's provenance."""
        return self._evaluator.provenance

    def start(self) -> None:
        """Do nothing: an evaluator starts when it is used."""

    def has_room(self, active: int, natoms: int, following: int) -> bool:
        """Tell if a further task fits beside those that are active."""
        del natoms, following
        return active < _ONE_BY_ONE

    def evaluate(self, requests: Sequence[Request]) -> list[Reply]:
        """Evaluate requests; return their replies in order."""
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, request in enumerate(requests):
            groups[request.required].append(place)
        replies: dict[int, Reply] = {}
        with self._lock:
            for properties, places in groups.items():
                structures = [requests[place].structure for place in places]
                outcomes = list(self._evaluator.evaluate(structures, properties))
                for place, outcome in zip(places, outcomes):
                    replies[place] = Reply(outcome, self._evaluator.provenance)
        return [replies[place] for place in range(len(requests))]

    def evaluate_now(self, request: Request) -> Reply:
        """Evaluate one request by itself."""
        (reply,) = self.evaluate([request])
        return reply

    def finish(self) -> None:
        """Do nothing: nothing is learned."""

    def close(self) -> None:
        """Do nothing: the evaluator is its owner's."""
