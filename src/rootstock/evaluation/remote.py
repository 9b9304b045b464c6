"""What runs in the processes of an executor: chunks, through sessions that are kept between them.

A process keeps one session for each spec, so that the model of a campaign is loaded once. A session
ends when no chunk came for a while and when the process ends; a process that is killed takes its
workers with it.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from ..errors import RootstockError, WorkerDiedError, make_portable
from ..runtime.session import Session
from .engine import Item
from .pool import Pool, PoolOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..protocol.data import Structure
    from ..runtime.spec import WorkerSpec
    from .engine import Completed
    from .evaluator import Outcome

__all__ = [
    "IDLE_SECONDS",
    "Reply",
    "Request",
    "close_sessions",
    "evaluate_elsewhere",
    "provenance_elsewhere",
]

#: A session without a chunk for this time ends its worker, and frees the memory of its GPU.
IDLE_SECONDS = 300.0
#: Seconds that closing waits for a chunk in another thread before it kills the worker.
_PATIENCE = 1.0


@dataclass(frozen=True)
class Request:
    """A chunk of structures on its way to another process.

    Attributes
    ----------
    spec : WorkerSpec
        The model; prepared.
    options : PoolOptions
        Properties, and how batches are used.
    structures : tuple of (int, Structure)
        Place in the input and structure; at least one.
    id : str
        Unique: dask answers a second request that looks like the first one from its memory, and so
        a repeated request with the first one's failure.
    """

    spec: WorkerSpec
    options: PoolOptions
    structures: tuple[tuple[int, Structure], ...]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __dask_tokenize__(self) -> str:
        """Return what dask makes a key of; otherwise it would hash every array."""
        return self.id


@dataclass(frozen=True)
class Reply:
    """What became of a request.

    Attributes
    ----------
    outcomes : tuple of (int, dict or RootstockError, Provenance)
        Place in the input, outcome and provenance of each structure that has an outcome.
    error : RootstockError or None
        What ended the request early: the model does not load, the machine lacks the build.
    seconds : float
        Time for the structures, without the start of the worker.
    """

    outcomes: tuple[tuple[int, Outcome, Any], ...]
    error: Optional[RootstockError] = None
    seconds: float = 0.0


def evaluate_elsewhere(request: Request) -> Reply:
    """Evaluate a request's structures in this process's worker.

    Errors of Rootstock are part of the reply: engines treat an exception as their own failure, and
    many of them lose its cause.
    """
    outcomes: list[tuple[int, Outcome, Any]] = []
    error, started = None, None
    try:
        with _kept_session(request.spec).in_use() as kept:
            with suppress(
                WorkerDiedError
            ):  # a second start may find the memory that this one lacked
                kept.session.start()
            kept.session.start()
            started = time.perf_counter()
            items = [Item(index, structure) for index, structure in request.structures]
            completed = kept.pool(request.options).run(items, ordered=False)
            # extend() keeps what came before an error
            outcomes.extend(map(_sent, completed))
    except RootstockError as caught:
        error = caught
        make_portable(error)
    seconds = 0.0 if started is None else time.perf_counter() - started
    return Reply(tuple(outcomes), error, seconds)


def _sent(completed: Completed) -> tuple[int, Outcome, Any]:
    if isinstance(completed.outcome, RootstockError):
        make_portable(completed.outcome)
    return completed.index, completed.outcome, completed.provenance


def provenance_elsewhere(spec: WorkerSpec) -> Any:
    """Return how this process's worker computes results, or the error of its start."""
    try:
        with _kept_session(spec).in_use() as kept:
            return kept.session.provenance
    except RootstockError as error:
        make_portable(error)
        return error


def close_sessions() -> None:
    """End the kept workers of this process; a later chunk starts another."""
    with _registry:
        kept = list(_sessions.values())
    for session in kept:
        session.close()


class _KeptSession:
    """A session between the chunks of a process, one chunk at a time."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.session = Session(spec)
        self._pools: dict[PoolOptions, Pool] = {}
        self._lock = threading.Lock()
        self._timer: Optional[threading.Timer] = None
        self._mask: Optional[str] = None

    def pool(self, options: PoolOptions) -> Pool:
        """Return the pool of the session, which remembers what it learned about batches."""
        if options not in self._pools:
            self._pools[options] = Pool([self.session], options)
        return self._pools[options]

    @contextmanager
    def in_use(self) -> Iterator[_KeptSession]:
        """Wait for the chunks of other threads; end the session after an idle time."""
        with self._lock:
            self._stop_timer()
            mask = os.environ.get("CUDA_VISIBLE_DEVICES")
            if self.session.is_running and mask != self._mask:
                self.session.close()  # the engine has assigned another GPU to this process
            self._mask = mask
            try:
                yield self
            finally:
                self._start_timer()

    def close(self) -> None:
        """End the worker; kill it if a chunk in another thread does not end soon."""
        if self._lock.acquire(timeout=_PATIENCE):
            try:
                self._stop_timer()
                self.session.close()
            finally:
                self._lock.release()
        else:
            self.session.kill()

    def _start_timer(self) -> None:
        timer = threading.Timer(IDLE_SECONDS, self._end_if_idle)
        timer.daemon = True
        timer.name = "rootstock-idle"
        self._timer = timer
        timer.start()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_if_idle(self) -> None:
        if self._lock.acquire(blocking=False):  # else a chunk came just now
            try:
                if self._timer is threading.current_thread():
                    self._timer = None
                    self.session.close()
            finally:
                self._lock.release()


_sessions: dict[WorkerSpec, _KeptSession] = {}
_registry = threading.Lock()


def _kept_session(spec: WorkerSpec) -> _KeptSession:
    with _registry:
        if spec not in _sessions:
            _sessions[spec] = _KeptSession(spec)
        return _sessions[spec]


def _forget_in_child() -> None:
    """After a fork: sessions are the parent's, and another thread may have held the lock."""
    global _registry  # noqa: PLW0603  a new lock replaces one that may never be released
    _registry = threading.Lock()
    _sessions.clear()


atexit.register(close_sessions)
os.register_at_fork(after_in_child=_forget_in_child)
