"""The hub: runs the functions of many structures in one thread, and evaluates their force calls.

Each function runs in a *greenlet*, a call stack of its own that stops where it is told to: in a
force call of its calculator. A *round* evaluates the calls of all functions that wait, all of them
before any function goes on, and then lets the functions go on in the order of the input. So what
shares a request depends on the tasks alone, not on how long anything takes.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

import greenlet

from ...errors import ConfigurationError
from .calculator import TaskCalculator, detach
from .inputs import copy_of
from .task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .calls import Calls, Reply, Request
    from .function import TaskFunction
    from .inputs import Given, Source

__all__ = ["Finished", "Hub"]


@dataclass(frozen=True)
class Finished:
    """The outcome of a task.

    Attributes
    ----------
    index : int
        The structure's place in the input.
    value : object
        What the function returned.
    error : Exception or None
        What it raised.
    steps : int
        Number of its force calls.
    provenance : Provenance or Any
        How they were computed; None without one.
    """

    index: int
    value: Any = field(default=None, repr=False)
    error: Optional[Exception] = None
    steps: int = 0
    provenance: Any = field(default=None, repr=False)


@dataclass(frozen=True)
class _Waiting:
    """A call that waits for the next round."""

    greenlet: Any
    request: Request


def _here() -> tuple[int, int]:
    """Return the process and the thread that run."""
    return os.getpid(), threading.get_ident()


class Hub:
    """Runs a function for many structures at a time.

    Parameters
    ----------
    function : TaskFunction
        The function.
    calls : Calls
        Evaluates its force calls; closed with the hub.
    max_active : int, optional
        Structures at a time; by default as many as are worth while.
    note_active : callable
        Called with the index of the structure whose function goes on, with -1 when none does.

    Attributes
    ----------
    steps : int
        Force calls so far.
    """

    def __init__(
        self,
        function: TaskFunction,
        calls: Calls,
        max_active: Optional[int] = None,
        note_active: Callable[[int], object] = lambda _: None,
    ) -> None:
        self.steps = 0
        self._function = function
        self._calls = calls
        self._max_active = max_active
        self._note_active = note_active
        self._tasks: dict[Task, Any] = {}  # those that run, and their greenlets
        self._usual: dict[str, None] = {}  # properties that the function asks for
        self._waiting: list[_Waiting] = []
        self._finished: list[Finished] = []
        self._owner = _here()
        self._main: Any = None

    def run(
        self, source: Source, on_round: Callable[[int], object] = lambda _: None
    ) -> Generator[Finished, None, None]:
        """Yield the outcomes of all tasks as they end; closing the iterator ends the functions.

        Parameters
        ----------
        source : Source
            The structures.
        on_round : callable
            Called with the number of force calls after each round.

        Raises
        ------
        StartupError
            The worker did not start, or died and could not be replaced.
        BaseException
            What a function raised that is not an ``Exception``, such as ``SystemExit``.
        """
        self._owner = _here()
        try:
            if source.peek(0) is None:
                return
            self._calls.start()
            while True:
                self._enter()
                self._fill(source)
                if self._finished:
                    finished, self._finished = self._finished, []
                    yield from finished
                elif self._waiting:
                    self._round()
                    on_round(self.steps)
                else:
                    break
            self._calls.finish()
        finally:
            self._end_functions()

    def close(self) -> None:
        """End the worker."""
        self._calls.close()

    def _enter(self) -> None:
        """Take note of where functions switch to: whoever asks for the next outcome."""
        if _here() != self._owner:
            msg = (
                "the results of rootstock.map have to be read in one thread: functions that wait "
                "can't go on in another one"
            )
            raise ConfigurationError(msg)
        self._main = greenlet.getcurrent()

    def _fill(self, source: Source) -> None:
        """Start functions as far as there is room, until one ends."""
        while not self._finished and self._has_room(0):
            given = source.peek(len(self._tasks))
            if given is None or not self._has_room(given.natoms):
                return
            self._start(source.take())

    def _has_room(self, natoms: int) -> bool:
        """Tell if a further structure of `natoms` atoms may start."""
        active = len(self._tasks)
        if not active:
            return True
        if self._max_active is not None:
            return active < self._max_active
        waiting = sum(entry.request.natoms for entry in self._waiting)
        return self._calls.has_room(active, waiting, natoms)

    def _start(self, given: Given) -> None:
        task = Task(given.index, self._calls, self._wait, self._usual)
        thread = greenlet.greenlet(self._run, parent=self._main)
        thread.gr_context = contextvars.copy_context()
        self._tasks[task] = thread
        self._switch(task.index, thread, task, given.source)

    def _run(self, task: Task, source: Any) -> None:
        """Run a task; in its greenlet."""
        value, error = None, None
        try:
            atoms = copy_of(source)
            atoms.calc = TaskCalculator(task)
            value = self._function(task.index, atoms)
            detach(value)
        except Exception as caught:  # noqa: BLE001  what a user's function raises is its outcome
            value, error = None, caught
        finally:
            task.end()
            del self._tasks[task]
        self._finished.append(Finished(task.index, value, error, task.steps, task.provenance))

    def _wait(self, request: Request) -> Reply:
        """Return the reply to a request; called where a function calls its calculator."""
        current = greenlet.getcurrent()
        if _here() != self._owner or current is self._main:
            # Another thread, as of NEB(parallel=True), can't switch; a forked process and the
            # results' reader must not.
            self.steps += 1
            return self._calls.evaluate_now(request)
        reply: Reply = self._main.switch(_Waiting(current, request))
        return reply

    def _switch(self, index: int, thread: Any, *values: Any) -> None:
        """Let a function go on until it waits again or ends."""
        self._note_active(index)
        waiting = thread.switch(*values)
        self._note_active(-1)
        if isinstance(waiting, _Waiting):
            self._waiting.append(waiting)

    def _round(self) -> None:
        """Evaluate the calls of all functions that wait, then let these go on."""
        waiting, self._waiting = self._waiting, []
        replies = self._calls.evaluate([entry.request for entry in waiting])
        self.steps += len(waiting)
        for entry, reply in zip(waiting, replies):
            if entry.greenlet.parent is not self._main and entry.greenlet in self._tasks.values():
                entry.greenlet.parent = self._main
            self._switch(entry.request.index, entry.greenlet, reply)

    def _end_functions(self) -> None:
        """Raise ``GreenletExit`` in the functions that wait, so that their ``finally`` runs."""
        self._waiting = []
        if _here() != self._owner:
            return  # the iterator was collected in another thread, which can't reach them
        self._main = greenlet.getcurrent()
        for task, thread in list(self._tasks.items()):
            task.end()
            thread.parent = self._main
            with contextlib.suppress(Exception):  # there is nobody left to hear of it
                thread.throw(greenlet.GreenletExit)
        self._tasks.clear()
