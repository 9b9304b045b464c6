"""An engine that hands chunks to any :class:`concurrent.futures.Executor`."""

from __future__ import annotations

import contextlib
import queue
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ..errors import RootstockError, WorkerDiedError
from .engine import Completed, Item
from .submission import FIRST_STRUCTURES, ChunkSize, Submitter, brief, error_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from ..runtime.spec import WorkerSpec
    from .engine import Entry
    from .pool import PoolOptions
    from .remote import Reply

__all__ = ["ExecutorEngine"]

#: Times that a structure by itself may make the executor fail.
_MOST_ATTEMPTS = 2
#: Chunks, as a multiple of those in flight, that an ordered consumer lets the engine read ahead.
_READ_AHEAD = 4


class ExecutorEngine:
    """Evaluates structures wherever an executor runs its calls.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Stays the caller's: it is never shut down.
    spec : WorkerSpec
        The model; prepared. All processes must find the same build in their root.
    options : PoolOptions
        Properties, and how batches are used.
    max_in_flight : int, optional
        Most chunks that are submitted at a time. By default twice the executor's workers, or twice
        this machine's CPUs if the executor does not say how many it has.

    Raises
    ------
    ConfigurationError
        `executor` is not an executor.
    """

    def __init__(
        self,
        executor: Any,
        spec: WorkerSpec,
        options: PoolOptions,
        max_in_flight: Optional[int] = None,
    ) -> None:
        self._submitter = Submitter(executor, spec, options, max_in_flight)
        self._provenance: Any = None

    @property
    def provenance(self) -> Any:
        """How one of the executor's processes evaluates structures one by one."""
        if self._provenance is None:
            self._provenance = self._submitter.provenance()
        return self._provenance

    def run(self, entries: Iterable[Entry], *, ordered: bool) -> Generator[Completed, None, None]:
        """Yield the outcomes of entries as they come; see :class:`Engine`.

        Closing the generator cancels the chunks that have not begun.

        Raises
        ------
        ExecutorError
            The executor broke, or failed again and again. What had finished was yielded.
        ConfigurationError
            The executor can't send the model, structures or results.
        RootstockError
            Of a process that could not start the model.
        """
        run = _Run(self._submitter, ordered=ordered)
        try:
            yield from run.outcomes(iter(entries))
        finally:
            run.cancel()

    def close(self) -> None:
        """Do nothing: sessions in the executor's processes end when they are idle."""


@dataclass(frozen=True)
class _Chunk:
    items: tuple[Item, ...]
    attempts: int = 0

    @property
    def natoms(self) -> int:
        return sum(item.natoms for item in self.items)

    def parts(self) -> list[_Chunk]:
        """Return what to submit after a failure: halves, or the same structure once more."""
        middle = len(self.items) // 2
        parts = (self.items[:middle], self.items[middle:])
        return [_Chunk(part, self.attempts + 1) for part in parts if part]


class _Run:
    """One pass over entries."""

    def __init__(self, submitter: Submitter, *, ordered: bool) -> None:
        self._submitter = submitter
        self._ordered = ordered
        self._chunk_size = ChunkSize()
        self._last_size = FIRST_STRUCTURES
        self._in_flight: dict[Any, _Chunk] = {}  # by the future
        self._done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._again: deque[_Chunk] = deque()
        self._unfinished: OrderedDict[int, int] = OrderedDict()  # index: how many came before
        self._count = 0
        self._provenances: dict[Any, Any] = {}
        self._failures = 0  # in a row
        self._has_succeeded = False
        self._input_error: Optional[Exception] = None
        self._is_exhausted = False

    def outcomes(self, entries: Iterator[Entry]) -> Iterator[Completed]:
        """Submit chunks and yield outcomes until all are done."""
        try:
            yield from self._fill(entries)
            while self._in_flight:
                yield from self._collect(self._done.get())
                yield from self._fill(entries)
        except RootstockError:
            yield from self._finished()
            raise
        if self._input_error is not None:
            raise self._input_error

    def cancel(self) -> None:
        """Cancel what has not begun; what runs ends by itself."""
        for future in self._in_flight:
            self._submitter.cancel(future)
        self._in_flight.clear()

    # --- from entries to futures ------------------------------------------------------------------

    def _fill(self, entries: Iterator[Entry]) -> Iterator[Completed]:
        """Submit as many chunks as may be in flight; yield what is known or finished meanwhile."""
        while len(self._in_flight) < self._submitter.limit:
            if self._again:
                chunk = self._again.popleft()
            else:
                items: list[Item] = []
                yield from self._read(entries, items)
                if not items:
                    return
                chunk = _Chunk(tuple(items))
                self._last_size = len(items)
            future = self._submitter.submit(chunk.items)
            self._in_flight[future] = chunk
            future.add_done_callback(self._done.put)
            while not self._done.empty():
                yield from self._collect(self._done.get())

    def _read(self, entries: Iterator[Entry], items: list[Item]) -> Iterator[Completed]:
        """Read the items of the next chunk; yield known outcomes."""
        natoms = 0
        while not self._is_exhausted and self._has_room():
            try:
                entry = next(entries)
            except StopIteration:
                self._is_exhausted = True
            except Exception as error:  # noqa: BLE001  raised when what was read is done
                self._is_exhausted, self._input_error = True, error
            else:
                self._count += 1
                if isinstance(entry, Completed):
                    yield entry
                    continue
                self._unfinished[entry.index] = self._count
                items.append(entry)
                natoms += entry.natoms
                if self._chunk_size.is_full(len(items), natoms):
                    return

    def _has_room(self) -> bool:
        if not self._ordered or not self._unfinished:
            return True
        room = _READ_AHEAD * self._submitter.limit * max(self._last_size, FIRST_STRUCTURES)
        # what has finished after the lowest one waits for it
        return self._count - next(iter(self._unfinished.values())) < room

    # --- from futures to outcomes -----------------------------------------------------------------

    def _collect(self, future: Any) -> Iterator[Completed]:
        """Yield the outcomes of a future that is done; submit its structures again if it failed."""
        chunk = self._in_flight.pop(future)
        error = error_of(future)
        if error is None:
            self._failures, self._has_succeeded = 0, True
            yield from self._outcomes_of(chunk, future.result())
            return
        self._failures += 1
        self._submitter.check_failure(error, self._failures, has_succeeded=self._has_succeeded)
        if len(chunk.items) == 1 and chunk.attempts + 1 >= _MOST_ATTEMPTS:
            yield self._given_up(chunk.items[0], error)
        else:
            self._again.extend(chunk.parts())

    def _outcomes_of(self, chunk: _Chunk, reply: Reply) -> Iterator[Completed]:
        for index, outcome, provenance in reply.outcomes:
            del self._unfinished[index]
            # one object for all replies, each of which has a copy of its own
            provenance = self._provenances.setdefault(provenance, provenance)  # noqa: PLW2901
            yield Completed(index, outcome, provenance)
        if reply.error is not None:
            raise reply.error
        self._chunk_size.record(chunk.natoms, reply.seconds)

    def _finished(self) -> Iterator[Completed]:
        """Yield the outcomes of the futures that are done, after an error of another one."""
        for future in [future for future in self._in_flight if future.done()]:
            chunk = self._in_flight.pop(future)
            if error_of(future) is None:
                with contextlib.suppress(RootstockError):  # the first error is raised
                    yield from self._outcomes_of(chunk, future.result())

    def _given_up(self, item: Item, error: BaseException) -> Completed:
        del self._unfinished[item.index]
        msg = (
            f"structure {item.index} ({item.natoms} atoms) made the executor fail "
            f"{_MOST_ATTEMPTS} times, the last time with {brief(error)}. The process that "
            "evaluated it may have run out of memory or time"
        )
        given_up = WorkerDiedError(msg)
        given_up.__cause__ = error
        return Completed(item.index, given_up, None)
