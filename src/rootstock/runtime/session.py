"""A session: one model in one worker, shared by a calculator and its copies.

The worker starts when it is first needed and starts again after it died. Each calculator that
shares the session has a *handle*, and only the release of the last handle ends the worker: not
``close()`` or garbage collection of a single copy, and not a forked child. A session starts workers
from a prepared spec; it never builds.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Optional, Union

from ..environments.pins import Pin, pin
from ..errors import (
    BatchError,
    CalculationError,
    CallTimeoutError,
    ModelError,
    PeerClosedError,
    PropertyMissingError,
    ProtocolError,
)
from ..properties import check_results, property_names, require_properties
from ..protocol.server import Server
from .failures import death_error, timeout_error
from .provenance import Provenance, describe
from .start import load_model, start_process

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..protocol.data import Results, Structure, WorkerReport
    from .process import WorkerProcess
    from .spec import WorkerSpec

__all__ = ["Session"]

#: Seconds that a worker gets to finish a call that was interrupted before it is replaced.
_DISCARD = 10.0
#: Seconds between asking a worker to end and killing it.
_GRACE = 3.0


class Session:
    """One model in one worker. All methods may be called from any thread; calls are serialised.

    Parameters
    ----------
    spec : WorkerSpec
        How to start the worker. It may be prepared later, by assigning :attr:`spec`, but before
        the first start.

    Attributes
    ----------
    spec : WorkerSpec
        The spec that the next worker starts from.
    lock : threading.RLock
        Held during every call; callers hold it for several calls that belong together.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.lock = threading.RLock()
        self._holders: set[object] = set()
        self._process: Optional[WorkerProcess] = None
        self._server: Optional[Server] = None
        self._report: Optional[WorkerReport] = None
        self._pin = Pin(None)
        _living.add(self)

    # --- holders --------------------------------------------------------------------------------

    def hold(self, token: object) -> None:
        """Add `token` to the holders that need the worker."""
        self._holders.add(token)

    def release(self, token: object) -> None:
        """Remove `token`; if it was the last one, end the worker after its current call."""
        self._holders.discard(token)
        if not self._holders:
            self.stop()
            self._pin.release()

    def drop(self, token: object) -> None:
        """Remove `token` because its owner was collected, or because the interpreter ends.

        Never waits: a caller in the middle of a call has a token of its own, except for a daemon
        thread when the interpreter ends. The worker then ends with the process.
        """
        self._holders.discard(token)
        if not self._holders and self.lock.acquire(blocking=False):
            try:
                self.stop(0.0)
                self._pin.release()
            finally:
                self.lock.release()

    # --- the worker -----------------------------------------------------------------------------

    @property
    def started(self) -> Optional[WorkerReport]:
        """The report of the last worker that started, or None; starts nothing."""
        return self._report

    @property
    def is_running(self) -> bool:
        """Whether there is a worker process, which may have died unnoticed."""
        return self._process is not None

    @property
    def pid(self) -> Optional[int]:
        """The id of the worker's process; None if there is none."""
        process = self._process
        return None if process is None else process.pid

    @property
    def log(self) -> str:
        """The end of the running worker's output."""
        return self._process.log.text() if self._process is not None else ""

    @property
    def provenance(self) -> Provenance:
        """How results of this session are computed; starts the worker if it never was."""
        report = self.report()
        return describe(self.spec, report)

    def report(self) -> WorkerReport:
        """Return the worker's report; start it if it never was."""
        with self.lock:
            if self._report is None:
                self._running()
            if self._report is None:  # _running() raises or sets it
                msg = "the worker sent no report"
                raise ProtocolError(msg)
            return self._report

    def evaluate(
        self, structures: Iterable[Structure], properties: Iterable[str]
    ) -> Iterator[Union[Results, CalculationError, PropertyMissingError]]:
        """Yield the results of each structure in ASE's units, or its error, in order.

        Raises
        ------
        StartupError
            The worker does not start.
        """
        wanted = property_names(properties)
        for structure in structures:
            try:
                outcome: Union[Results, CalculationError, PropertyMissingError]
                outcome = self.evaluate_one(structure, wanted)
                require_properties(outcome, wanted)
            except (CalculationError, PropertyMissingError) as error:
                outcome = error
            yield outcome

    def evaluate_one(self, structure: Structure, properties: Iterable[str]) -> Results:
        """Evaluate one structure in the worker.

        Returns
        -------
        dict
            All results of the model's calculator, in ASE's units, with its own dtypes and shapes.

        Raises
        ------
        ModelError
            The model raised, or returned invalid results; the worker keeps running.
        PropertyMissingError
            The model has no such property.
        CallTimeoutError
            No answer within the spec's ``timeout``; the worker was stopped.
        WorkerDiedError
            The worker died. The next call starts another.
        """
        with self.lock:
            server = self._running()
            try:
                deadline = self._deadline(self.spec.timeout)
                results = server.evaluate_one(structure, properties, deadline)
            except CallTimeoutError:
                raise self._timed_out(self.spec.timeout, "timeout") from None
            except (PeerClosedError, ProtocolError) as error:
                raise self._died(error, phase="while it calculated") from error
            finally:
                if not server.synchronised and not server.reply_pending:
                    self.stop(0.0)
        check_results(results, len(structure.positions))
        return results

    def start(self) -> WorkerReport:
        """Start the worker unless it runs; return the report of the running one.

        Raises
        ------
        StartupError
            It did not start.
        """
        with self.lock:
            self._running()
            return self.report()

    def evaluate_batch(
        self,
        structures: Sequence[Structure],
        properties: Iterable[str],
        *,
        together: bool = False,
        required: Optional[Iterable[str]] = None,
    ) -> Iterator[Union[Results, ModelError, PropertyMissingError]]:
        """Evaluate many structures in one request; yield their outcomes in order as they come.

        Consume it in one thread; the session is locked until it ends or is closed.

        Parameters
        ----------
        structures : sequence of Structure
            Å.
        properties : iterable of str
            The properties to ask for.
        together : bool
            Whether the environment file's ``evaluate_batch()`` evaluates them, else one by one.
        required : iterable of str, optional
            The properties whose absence is an error; by default all that are asked for.

        Raises
        ------
        BatchError
            ``evaluate_batch()`` failed as a whole; nothing was yielded.
        CallTimeoutError, WorkerDiedError
            The worker is gone; if structures are evaluated one by one, the first one without an
            outcome is the one it was stopped or died at. ``timeout`` holds for each structure.
        """
        wanted = tuple(properties)
        needed = wanted if required is None else tuple(required)
        limit = self.spec.timeout
        with self.lock:
            server = self._running()
            try:
                server.send_batch(
                    structures, wanted, together=together, deadline=self._deadline(limit)
                )
                if together and limit is not None:
                    limit *= len(structures)
                for structure in structures:
                    yield self._next_outcome(server, structure, needed, limit)
            except CallTimeoutError:
                raise self._timed_out(self.spec.timeout, "timeout") from None
            except (PeerClosedError, ProtocolError) as error:
                raise self._died(error, phase="while it calculated") from error
            finally:
                if not server.synchronised and not server.reply_pending:
                    self.stop(0.0)

    def _next_outcome(
        self,
        server: Server,
        structure: Structure,
        required: tuple[str, ...],
        limit: Optional[float],
    ) -> Union[Results, ModelError, PropertyMissingError]:
        try:
            results = server.next_results(self._deadline(limit))
            check_results(results, len(structure.positions))
            require_properties(results, required)
        except BatchError:
            raise
        except (ModelError, PropertyMissingError) as error:
            return error
        return results

    def kill(self) -> None:
        """Kill the worker's processes without waiting for a call in another thread to end.

        That call ends with :class:`WorkerDiedError`.
        """
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """End the worker; the next call starts another."""
        self.stop()
        self._pin.release()

    def stop(self, grace: float = _GRACE) -> None:
        """End the worker, if there is one, giving it `grace` seconds to end by itself."""
        with self.lock:
            process, server = self._process, self._server
            self._process = self._server = None
            if process is None:
                return
            try:
                process.end(grace if grace > 0 and _asked_to_end(server) else 0.0)
            finally:
                process.release()

    def _running(self) -> Server:
        """Return a synchronised server, starting or replacing the worker where needed."""
        server = self._server
        if server is not None and not server.synchronised:
            server = self._recovered(server)
        return server if server is not None else self._start()

    def _recovered(self, server: Server) -> Optional[Server]:
        """Synchronise a server after an interrupted call; end its worker if that fails."""
        if server.reply_pending:
            with contextlib.suppress(CallTimeoutError, ProtocolError):  # then it is replaced
                server.discard(time.monotonic() + _DISCARD)
        if server.synchronised:
            return server
        self.stop(0.0)
        return None

    def _start(self) -> Server:
        spec = self.spec
        process = start_process(spec)
        self._process, self._server = process, Server(process.connection)
        if spec.build is not None and not self._pin.is_held:
            self._pin = pin(spec.environment, spec.build)
        try:
            self._report = self._load(self._server)
        except BaseException:  # an interrupt too: a worker without a model is useless
            self.stop(0.0)
            raise
        return self._server

    def _load(self, server: Server) -> WorkerReport:
        limit = self.spec.startup_timeout
        try:
            return load_model(self.spec, server, self._deadline(limit))
        except CallTimeoutError:
            raise self._timed_out(limit, "startup_timeout") from None
        except (PeerClosedError, ProtocolError) as error:
            raise self._died(error, phase="while it loaded the model") from error

    @staticmethod
    def _deadline(seconds: Optional[float]) -> Optional[float]:
        return None if seconds is None else time.monotonic() + seconds

    def _timed_out(self, seconds: Optional[float], argument: str) -> CallTimeoutError:
        """Stop the worker; return the error to raise. `argument` is the exceeded limit's name."""
        tail = self._process.log.tail() if self._process is not None else ""
        self.stop(0.0)
        return timeout_error(self.spec.model, argument, seconds, tail)

    def _died(self, error: Exception, phase: str) -> CalculationError:
        """End what is left of the worker; return the error to raise."""
        process, self._process, self._server = self._process, None, None
        status, tail = None, ""
        if process is not None:
            # After an end of file the process gets a moment to end by itself and show its status.
            status = process.end(1.0 if isinstance(error, PeerClosedError) else 0.0)
            tail = process.log.tail()
            process.release()
        return death_error(self.spec.model, error, status, phase, tail)

    def _detach_in_child(self) -> None:
        """After a fork: the worker is the parent's; the child starts its own when needed."""
        self.lock = threading.RLock()  # another thread of the parent may have held it
        process, self._process, self._server = self._process, None, None
        self._pin.detach()
        if process is not None:
            process.release()


def _asked_to_end(server: Optional[Server]) -> bool:
    """Send EXIT to a worker that would read it now; return whether it was sent."""
    if server is None or not server.synchronised:
        return False
    try:
        server.exit()
    except (ProtocolError, CallTimeoutError):
        return False
    return True


_living: weakref.WeakSet[Session] = weakref.WeakSet()


def _detach_all_in_child() -> None:
    for session in list(_living):
        session._detach_in_child()  # noqa: SLF001  the same module


os.register_at_fork(after_in_child=_detach_all_in_child)
