"""A pool: workers of one model on the devices of this machine, a thread for each."""

from __future__ import annotations

import os
import queue
import threading
import time
import warnings
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Optional, Union

from ..errors import CallTimeoutError, PropertyMissingError, StartupError
from ..properties import property_names
from ..runtime.arguments import checked_device
from ..runtime.session import Session
from ..support.suggestions import did_you_mean, similar_names
from .backlog import Backlog
from .chunk import Wanted, evaluate_chunk, start_worker
from .engine import DEFAULT_PROPERTIES, Completed, Item, in_order
from .policy import Policies

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from ..protocol.data import Structure
    from ..runtime.provenance import Provenance
    from ..runtime.spec import WorkerSpec
    from .chunk import Chunk, Evaluated
    from .engine import Entry
    from .evaluator import Outcome
    from .policy import Policy

__all__ = ["Pool", "PoolOptions", "pool_specs"]

#: Structures that are read ahead: to sort them by size for batches; for each worker without.
_WINDOW, _READ_AHEAD = 4096, 64
#: Seconds of reading after which workers get what was read.
_READING = 0.2
#: Seconds that a worker's thread gets to end after its worker was killed.
_JOIN = 10.0


@dataclass(frozen=True)
class PoolOptions:
    """How a pool evaluates.

    Attributes
    ----------
    properties : tuple of str, or None
        The properties to ask for, each of them required; None asks for energy, forces and stress
        and takes what the model returns.
    batch_atoms : int or None
        A fixed budget of atoms for a batch; None finds it.
    exact : bool
        Never use ``evaluate_batch()``.
    """

    properties: Optional[tuple[str, ...]] = None
    batch_atoms: Optional[int] = None
    exact: bool = False


def pool_specs(
    spec: WorkerSpec, devices: Optional[Sequence[str]] = None, workers_per_device: int = 1
) -> list[WorkerSpec]:
    """Return the specs of a pool's workers.

    Without `threads` of their own, several workers on the CPU share its cores evenly.

    Parameters
    ----------
    spec : WorkerSpec
        The model; prepared.
    devices : sequence of str, optional
        ``"cpu"``, ``"cuda:0"``, ...; by default the spec's device.
    workers_per_device : int
        Workers on each of them.
    """
    chosen = [spec.device] if devices is None else [checked_device(name) for name in devices]
    specs = [replace(spec, device=name) for name in chosen for _ in range(workers_per_device)]
    on_cpu = sum(entry.device in ("cpu", "auto") for entry in specs)
    if spec.threads is None and on_cpu > 1:
        threads = max(1, len(os.sched_getaffinity(0)) // on_cpu)
        specs = [
            replace(entry, threads=threads) if entry.device in ("cpu", "auto") else entry
            for entry in specs
        ]
    return specs


@dataclass(frozen=True)
class _Started:
    worker: _Worker
    implemented: tuple[str, ...]
    reads_ahead: int


@dataclass(frozen=True)
class _Stopped:
    worker: _Worker
    error: Optional[BaseException]


class _Worker(threading.Thread):
    """Takes chunks from the backlog and puts their outcomes into a queue."""

    def __init__(
        self,
        session: Session,
        backlog: Backlog,
        policies: Policies,
        done: queue.SimpleQueue[Any],
    ) -> None:
        super().__init__(name=f"rootstock-{session.spec.device}", daemon=True)
        self.session = session
        self._backlog = backlog
        self._policies = policies
        self._done = done
        self._provenance: dict[tuple[bool, int], Provenance] = {}
        self.has_started = False

    def run(self) -> None:
        error: Optional[BaseException] = None
        try:
            self._work()
        except BaseException as caught:  # noqa: BLE001  raised in the consumer's thread
            error = caught
        self._done.put(_Stopped(self, error))

    def _work(self) -> None:
        start_worker(self.session, self._backlog.is_closed)
        policy = self._policies.of(self.session)
        report = self.session.start()
        may_batch = report.evaluates_batches and not policy.exact
        self.has_started = True
        reads_ahead = _WINDOW if may_batch else _READ_AHEAD
        self._done.put(_Started(self, report.implemented_properties, reads_ahead))
        while (chunk := self._backlog.take(policy)) is not None:
            pending = {item.index: item for item in chunk.items}
            try:
                for evaluated in self._evaluate(chunk, policy):
                    del pending[evaluated.item.index]
                    self._done.put(self._completed(evaluated, policy))
            finally:
                self._backlog.put_back(list(pending.values()))
        policy.keep(self.session)

    def _evaluate(self, chunk: Chunk, policy: Policy) -> Iterable[Evaluated]:
        if not chunk.together and len(chunk.items) > 1 and policy.needs_check():
            return policy.check_on(self.session, chunk)
        return evaluate_chunk(
            self.session, chunk, policy.budget, policy.pace, self._backlog.is_closed
        )

    def _completed(self, evaluated: Evaluated, policy: Policy) -> Completed:
        key = (evaluated.together, policy.budget.atoms if evaluated.together else 0)
        if key not in self._provenance:
            provenance = self.session.provenance
            if evaluated.together and policy.check is not None:
                provenance = replace(
                    provenance,
                    evaluation="batch",
                    atom_budget=key[1],
                    batch_deviation=dict(policy.check.deviations),
                )
            self._provenance[key] = provenance
        return Completed(evaluated.item.index, evaluated.outcome, self._provenance[key])


class Pool:
    """Evaluates structures in several workers of one model, which get work as they become free.

    Parameters
    ----------
    workers : sequence of WorkerSpec or Session
        One worker runs for each. Sessions stay open when the pool is closed.
    options : PoolOptions
        Properties, and how batches are used.

    Notes
    -----
    A worker that dies is replaced, and its other structures are evaluated again. Interrupted, the
    pool kills its workers.
    """

    def __init__(
        self,
        workers: Sequence[Union[WorkerSpec, Session]],
        options: PoolOptions = PoolOptions(),
    ) -> None:
        self._options = options
        self._sessions = [w if isinstance(w, Session) else Session(w) for w in workers]
        self._owned = [s for s, w in zip(self._sessions, workers) if s is not w]
        # kept from run to run: an executor's process runs many small chunks through one pool
        self._policies: dict[Wanted, Policies] = {}

    @property
    def provenance(self) -> Provenance:
        """How structures are evaluated one by one; starts a worker."""
        return self._sessions[0].provenance

    @property
    def pids(self) -> list[int]:
        """The ids of the workers' processes that run now."""
        return [session.pid for session in self._sessions if session.pid is not None]

    def close(self) -> None:
        """End the workers; more than once does nothing."""
        for session in self._owned:
            session.close()

    def evaluate(
        self, structures: Iterable[Structure], properties: Iterable[str]
    ) -> Iterator[Outcome]:
        """Yield the outcome of each structure, in order; see :class:`Evaluator`."""
        wanted = Wanted(property_names(properties), required=True)
        indices: deque[int] = deque()

        def entries() -> Iterator[Item]:
            for index, structure in enumerate(structures):
                indices.append(index)
                yield Item(index, structure)

        for completed in in_order(self._run(entries(), wanted, ordered=True), indices):
            yield completed.outcome

    def run(self, entries: Iterable[Entry], *, ordered: bool) -> Generator[Completed, None, None]:
        """Yield the outcomes of entries as they come; see :class:`Engine`.

        Raises
        ------
        StartupError
            No worker of a device started, or none is left.
        PropertyMissingError
            The model has none of the name of a property that was asked for.
        """
        names = self._options.properties
        wanted = Wanted(names or DEFAULT_PROPERTIES, required=names is not None)
        return self._run(entries, wanted, ordered=ordered)

    def _run(
        self, entries: Iterable[Entry], wanted: Wanted, *, ordered: bool
    ) -> Generator[Completed, None, None]:
        waiting = iter(entries)
        for first in waiting:
            if not isinstance(first, Completed):
                break
            yield first
        else:
            return  # no item: no worker starts
        run = _Run(self._sessions, self._policies_for(wanted), wanted, ordered=ordered)
        try:
            yield from run.outcomes(chain([first], waiting))
        finally:
            run.stop()

    def _policies_for(self, wanted: Wanted) -> Policies:
        if wanted not in self._policies:
            options = self._options
            self._policies[wanted] = Policies(wanted, options.batch_atoms, exact=options.exact)
        return self._policies[wanted]


class _Run:
    """One pass over structures."""

    def __init__(
        self, sessions: Sequence[Session], policies: Policies, wanted: Wanted, *, ordered: bool
    ) -> None:
        self._wanted = wanted
        self._ordered = ordered
        self._backlog = Backlog(len(sessions))
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._running = [_Worker(s, self._backlog, policies, self._done) for s in sessions]
        self._started: Counter[str] = Counter()
        self._reads_ahead = 0
        self._outstanding: OrderedDict[int, int] = OrderedDict()  # index: how many came before
        self._count = 0
        self._input_error: Optional[Exception] = None
        self._is_exhausted = False

    def outcomes(self, entries: Iterator[Entry]) -> Iterator[Completed]:
        """Start the workers; read entries and yield their outcomes until all are done."""
        for worker in self._running:
            worker.start()
        while self._outstanding or not self._is_exhausted:
            event = self._done.get()
            if isinstance(event, Completed):
                del self._outstanding[event.index]
                yield event
            elif isinstance(event, _Started):
                self._note_start(event)
            else:
                self._note_end(event)
            if self._reads_ahead:
                self._read(entries)
        if self._input_error is not None:
            raise self._input_error

    def stop(self) -> None:
        """End the threads; workers in the middle of a calculation or of their start are killed."""
        self._backlog.close()
        for worker in self._running:
            if self._outstanding or not worker.has_started:
                worker.session.kill()
        for worker in self._running:
            worker.join(_JOIN)

    def _read(self, entries: Iterator[Entry]) -> None:
        """Read entries as far ahead as the workers need."""
        items: list[Item] = []
        begun = time.monotonic()
        while not self._is_exhausted and self._has_room():
            if items and time.monotonic() - begun > _READING:
                break  # the input is slow: workers begin with what is there
            try:
                entry = next(entries)
            except StopIteration:
                self._is_exhausted = True
            except Exception as error:  # noqa: BLE001  raised when what was read is done
                self._is_exhausted, self._input_error = True, error
            else:
                self._outstanding[entry.index] = self._count
                self._count += 1
                if isinstance(entry, Completed):
                    self._done.put(entry)
                else:
                    items.append(entry)
        self._backlog.add(items)
        if self._is_exhausted:
            self._backlog.complete()

    def _has_room(self) -> bool:
        if not self._ordered or not self._outstanding:
            return len(self._outstanding) < self._reads_ahead
        lowest = next(iter(self._outstanding.values()))  # of a shard, indices have gaps
        return self._count - lowest < self._reads_ahead

    def _note_start(self, event: _Started) -> None:
        self._started[event.worker.session.spec.device] += 1
        reads_ahead = event.reads_ahead * len(self._running)
        self._reads_ahead = min(_WINDOW, max(self._reads_ahead, reads_ahead))
        missing = set(self._wanted.properties) - set(event.implemented)
        if self._wanted.required and missing:
            name = min(missing)
            hint = did_you_mean(similar_names(name, event.implemented))
            msg = (
                f"model {event.worker.session.spec.model!r} has no property {name!r}{hint} "
                f"It has {', '.join(event.implemented)}."
            )
            raise PropertyMissingError(msg)

    def _note_end(self, event: _Stopped) -> None:
        self._running.remove(event.worker)
        error, device = event.error, event.worker.session.spec.device
        if error is None:
            return
        others = [w for w in self._running if w.session.spec.device == device]
        lost = isinstance(error, (StartupError, CallTimeoutError))
        if not lost or not (others or self._started[device]):
            raise error
        if not self._running:
            raise error
        first_line = str(error).partition("\n")[0]
        warnings.warn(
            f"a worker on {device} is lost ({first_line}); {len(self._running)} go on",
            RuntimeWarning,
            stacklevel=2,
        )
