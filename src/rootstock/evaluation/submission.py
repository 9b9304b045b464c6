"""Handing requests to an executor: how many, how large, and what its failures mean."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from concurrent.futures import BrokenExecutor, CancelledError
from typing import TYPE_CHECKING, Any, NoReturn, Optional

from ..errors import ConfigurationError, ExecutorError, RootstockError
from .remote import Reply, Request, evaluate_elsewhere, provenance_elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..runtime.spec import WorkerSpec
    from .engine import Item
    from .pool import PoolOptions

__all__ = ["FIRST_STRUCTURES", "ChunkSize", "Submitter", "brief", "check_executor", "error_of"]

#: Seconds of work in a chunk, beside which an engine's 1 to 10 ms for a task are nothing.
_CHUNK_SECONDS = 7.0
#: Most structures and atoms in a chunk: some 5 MB in each direction.
_MOST_STRUCTURES, _MOST_ATOMS = 256, 100_000
#: The same for the first chunks, before there is a measurement.
FIRST_STRUCTURES, _FIRST_ATOMS = 12, 2000
#: Chunks that may fail in a row before the first success.
_MOST_FAILURES = 3
#: Seconds after which the number of workers is asked for again: jobs of a cluster come and go.
_RECOUNT_SECONDS = 10.0


class ChunkSize:
    """How many structures go into a chunk: some seconds of work, as measured so far."""

    def __init__(self) -> None:
        self._seconds_per_atom: Optional[float] = None

    def is_full(self, structures: int, natoms: int) -> bool:
        """Tell if a chunk of that many structures and atoms is large enough."""
        if self._seconds_per_atom is None:
            return structures >= FIRST_STRUCTURES or natoms >= _FIRST_ATOMS
        if structures >= _MOST_STRUCTURES or natoms >= _MOST_ATOMS:
            return True
        return natoms * self._seconds_per_atom >= _CHUNK_SECONDS

    def record(self, natoms: int, seconds: float) -> None:
        """Take note of a chunk that was evaluated."""
        measured = seconds / natoms
        last = self._seconds_per_atom
        self._seconds_per_atom = measured if last is None else (last + measured) / 2


class Submitter:
    """Sends one model's requests through an executor, and judges its failures.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Any.
    spec : WorkerSpec
        The model; prepared.
    options : PoolOptions
        Properties, and how batches are used.
    max_in_flight : int, optional
        Most requests at a time; by default twice the number of workers.

    Raises
    ------
    ConfigurationError
        `executor` is not an executor.
    """

    def __init__(
        self, executor: Any, spec: WorkerSpec, options: PoolOptions, max_in_flight: Optional[int]
    ) -> None:
        check_executor(executor)
        self._executor = executor
        self._spec = spec
        self._options = options
        self._fixed = max_in_flight
        self._counted, self._at = 0, float("-inf")

    @property
    def limit(self) -> int:
        """Most requests that may be in flight, now."""
        if self._fixed is not None:
            return self._fixed
        if time.monotonic() - self._at > _RECOUNT_SECONDS:
            self._counted = 2 * (_count_workers(self._executor) or os.cpu_count() or 1)
            self._at = time.monotonic()
        return self._counted

    def submit(self, items: Iterable[Item]) -> Any:
        """Submit a request; return its future."""
        structures = tuple((item.index, item.structure) for item in items)
        return self._submit(evaluate_elsewhere, Request(self._spec, self._options, structures))

    def cancel(self, future: Any) -> None:
        """Cancel a request that has not begun, where the executor can do so."""
        # executorlib 1.11: a future that is cancelled at once ends its dispatcher's thread, and
        # shutdown() then waits for ever
        if not type(self._executor).__module__.startswith("executorlib."):
            with contextlib.suppress(Exception):  # parsl raises NotImplementedError
                future.cancel()

    def provenance(self) -> Any:
        """Return the provenance of one of the executor's processes; wait for it."""
        try:
            found = self._submit(provenance_elsewhere, self._spec).result()
        except RootstockError:
            raise
        except Exception as error:  # noqa: BLE001  raised as the cause
            self._fail("started no worker", error)
        if isinstance(found, RootstockError):
            raise found
        return found

    def check_failure(self, error: BaseException, failures: int, *, has_succeeded: bool) -> None:
        """Raise unless the error of a future may be the fault of its structures, or bad luck.

        Parameters
        ----------
        error : BaseException
            The future's.
        failures : int
            How many futures have failed in a row, this one included.
        has_succeeded : bool
            Whether one succeeded before.
        """
        if isinstance(error, RootstockError):
            raise error
        if isinstance(error, (BrokenExecutor, CancelledError)) or not isinstance(error, Exception):
            self._fail("broke", error)
        if _is_about_pickling(error):
            self._refuse_to_send(error)
        # a machine that is lost takes all chunks in flight with it, and their halves come next
        if failures >= (4 * self.limit if has_succeeded else _MOST_FAILURES):
            self._fail(f"failed for {failures} chunks in a row", error)

    def _submit(self, function: Callable[[Any], Any], argument: Any) -> Any:
        try:
            future = self._executor.submit(function, argument)
        except RootstockError:
            raise
        except Exception as error:  # noqa: BLE001  raised as the cause
            if _is_about_pickling(error):
                self._refuse_to_send(error)
            self._fail("accepts no work", error)
        if not hasattr(future, "add_done_callback"):
            msg = (
                f"{self._name}.submit() returned {future!r} instead of a future: use the Executor "
                "class of that library"
            )
            raise ConfigurationError(msg)
        return future

    @property
    def _name(self) -> str:
        return f"executor {type(self._executor).__name__}"

    def _fail(self, what: str, error: BaseException) -> NoReturn:
        msg = (
            f"the {self._name} {what}: {brief(error)}. Results that had finished were returned; "
            "look into the executor's own log, and evaluate the rest with a new executor"
        )
        raise ExecutorError(msg) from error

    def _refuse_to_send(self, error: Exception) -> NoReturn:
        parts = {"the model's WorkerSpec": self._spec, "the options": self._options}
        names = [name for name, part in parts.items() if not _pickles(part)]
        what = " and ".join(names) or "structures or results"
        msg = (
            f"the {self._name} can't send {what} to another process: {brief(error)}. Executors "
            "must be able to pickle what they send"
        )
        raise ConfigurationError(msg) from error


def brief(error: BaseException) -> str:
    """Return an error's class and the first line of its message."""
    first_line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first_line}" if first_line else type(error).__name__


def error_of(future: Any) -> Optional[BaseException]:
    """Return why a future that is done has no reply; None if it has one."""
    try:
        error: Optional[BaseException] = future.exception()
    except CancelledError as cancelled:
        return cancelled
    if error is None and not isinstance(future.result(), Reply):
        return TypeError(f"a reply was expected, not {type(future.result()).__name__}")
    return error


def check_executor(executor: Any) -> None:
    """Raise :class:`ConfigurationError` unless an object is an executor."""
    if hasattr(executor, "get_executor"):
        msg = f"executor={executor!r} is a client of dask: use executor=client.get_executor()"
        raise ConfigurationError(msg)
    if isinstance(executor, type) or not callable(getattr(executor, "submit", None)):
        msg = (
            f"executor={executor!r} must be a concurrent.futures.Executor, such as "
            "ProcessPoolExecutor(), client.get_executor() of dask, or ParslPoolExecutor()"
        )
        raise ConfigurationError(msg)


def _count_workers(executor: Any) -> int:
    """Return how many workers an executor has; 0 if it does not say, or has none yet."""
    for name in ("_max_workers", "max_workers"):  # stdlib and loky; executorlib
        number = getattr(executor, name, None)
        if isinstance(number, int):
            return number
    with contextlib.suppress(Exception):  # dask; whatever fails, a guess does as well
        return sum(executor._client.ncores().values())  # noqa: SLF001  it has no public name
    return 0


def _is_about_pickling(error: Exception) -> bool:
    if isinstance(error, pickle.PicklingError) or "Serialization" in type(error).__name__:
        return True
    text = str(error).lower()
    return isinstance(error, (TypeError, AttributeError)) and (
        "pickle" in text or "serialize" in text
    )


def _pickles(value: Any) -> bool:
    try:
        pickle.dumps(value)
    except Exception:  # noqa: BLE001  pickling runs the code of any class
        return False
    return True
