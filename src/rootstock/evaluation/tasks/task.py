"""A structure whose function runs, as its calculators see it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NoReturn, Optional

from ...errors import CalculationError
from .calls import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...protocol.data import Results, Structure
    from .calls import Calls, Reply

__all__ = ["Task"]

#: What nearly every function asks for next, of the same structure.
_ALWAYS = ("energy", "forces")


class Task:
    """A structure's force calls.

    Parameters
    ----------
    index : int
        The structure's place in the input.
    calls : Calls
        Evaluates them.
    wait : callable
        Returns the reply to a request, when the hub has evaluated it.
    usual : dict
        The properties that tasks of the same function asked for, as keys; added to.

    Attributes
    ----------
    index : int
        As given.
    model : str
        Name of the model, for messages.
    steps : int
        Number of force calls so far.
    provenance : Provenance or Any
        How results were computed: that of a batch if there was one. None before the first call.
    """

    def __init__(
        self,
        index: int,
        calls: Calls,
        wait: Callable[[Request], Reply],
        usual: dict[str, None],
    ) -> None:
        self.index = index
        self.model = calls.model
        self.steps = 0
        self.provenance: Any = None
        self._calls: Optional[Calls] = calls
        self._wait = wait
        self._implemented = calls.implemented
        self._usual = usual
        self._lacking: set[str] = set()
        self._lock = threading.Lock()  # threads of the function count steps

    @property
    def implemented(self) -> tuple[str, ...]:
        """The model's properties."""
        return self._implemented

    @property
    def single_provenance(self) -> Any:
        """How single structures are evaluated."""
        return self._running().provenance

    def evaluate(self, structure: Structure, names: Sequence[str]) -> Results:
        """Return the model's results for a structure, when all tasks have asked for theirs.

        Raises
        ------
        CalculationError, PropertyMissingError
            The structure's evaluation failed, or the task has ended.
        """
        required = tuple(names)
        further = () if self._running().exact else self._further(required)
        reply = self._wait(Request(self.index, structure, required, further))
        with self._lock:
            self.steps += 1
            if getattr(self.provenance, "evaluation", None) != "batch" or (
                getattr(reply.provenance, "evaluation", None) == "batch"
            ):
                self.provenance = reply.provenance
        if isinstance(reply.outcome, Exception):
            raise reply.outcome
        self._usual.update(dict.fromkeys(n for n in required if n in reply.outcome))
        self._lacking.update(n for n in further if n not in reply.outcome)  # molecules: stress
        return reply.outcome

    def _further(self, required: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the function is likely to ask for too.

        One call then returns all of it, and tasks that ask for the same share a batch.
        """
        known = set(self._implemented) - self._lacking
        return tuple(known.intersection((*_ALWAYS, *self._usual)).difference(required))

    def end(self) -> None:
        """Let calculators refuse further calls."""
        self._calls = None

    def _running(self) -> Calls:
        if self._calls is None:
            self._refuse()
        return self._calls

    def _refuse(self) -> NoReturn:
        msg = (
            f"the task of structure {self.index} has ended, and its calculator calculates nothing "
            "any more: calculate inside the function, or attach another calculator, such as "
            f"RootstockCalculator({self.model!r})"
        )
        raise CalculationError(msg)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state of a task that has ended: a copy elsewhere can't reach the hub."""
        left_out = ("_calls", "_wait", "_lock", "_usual")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a task that has ended."""
        self.__dict__.update(state)
        self._calls = None
        self._lock = threading.Lock()
