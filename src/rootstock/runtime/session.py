"""A session: one model in one worker, shared by a calculator and its copies.

The worker starts when it is first needed and starts again after it died. Each calculator that
shares the session holds a *lease*; the end of the last lease ends the worker, and nothing else
does: no copy's ``close()``, no garbage collection of a copy, no forked child.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from .. import environments
from ..protocol.data import WorkerReport
from ..errors import (
    CallTimeoutError,
    ModelError,
    PeerClosedError,
    ProtocolError,
    SetupError,
    WorkerDiedError,
)
from ..protocol.server import Server
from .process import WorkerProcess, describe_exit
from .variables import pin_device, worker_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..environments.builds import BuiltEnvironment
    from ..environments.environment_file import EnvironmentFile
    from ..protocol.data import Results, Structure
    from ..support.progress import Progress
    from ..settings.root import Root

__all__ = ["Lease", "Recipe", "Session"]

#: In the error of a model that was never fetched.
_FETCH = (
    ". If its weights could not be downloaded: run 'rootstock fetch {}' where there is a network"
)
#: Seconds that a worker gets to finish a call that was interrupted before it is replaced.
_DISCARD = 10.0
#: Seconds between asking a worker to end and killing it.
_GRACE = 3.0


@dataclass(frozen=True)
class WorkerSpec:
    """Everything that it takes to start a worker; can be pickled.

    Attributes
    ----------
    text : str
        The model as the user wrote it; for messages.
    file : EnvironmentFile
        Where ``setup()`` is.
    argument : str
        What ``setup()`` gets as ``model``.
    root : Root or None
        None: the environment is uv's own for the script, caches are the user's.
    device : str
        As asked for.
    options : mapping
        Further arguments of ``setup()``.
    threads : int or None
        CPU threads.
    timeout, startup_timeout : float or None
        Seconds for a call and for a start (building not counted); None waits for ever.
    progress : Progress or None
        Where a build shows how it goes.
    offline : bool
        The weights were fetched: libraries need no network.
    watch : bool
        Have the worker report which files loading the model opens.
    """

    text: str
    file: EnvironmentFile
    argument: str
    root: Optional[Root] = None
    device: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    threads: Optional[int] = None
    timeout: Optional[float] = None
    startup_timeout: Optional[float] = None
    progress: Optional[Progress] = None
    offline: bool = False
    watch: bool = False


class SessionHandle:
    """One calculator's share of a session.

    Parameters
    ----------
    session : Session
        What is shared.
    owner : object
        The lease ends with it at the latest.
    """

    def __init__(self, session: Session, owner: object) -> None:
        self.session = session
        self._token = object()
        # Bound to the token and the session, never to the owner, which must be free to go.
        self._finalizer = weakref.finalize(owner, session.drop, self._token)
        session.hold(self._token)

    def hold(self) -> Session:
        """Return the session for a use, renewing the lease if it was given up."""
        self.session.hold(self._token)
        return self.session

    def give_up(self) -> None:
        """End the lease politely: the last one asks the worker to end."""
        self.session.release(self._token)


class Session:
    """See the module. All methods may be called from any thread; calls are serialised."""

    def __init__(self, spec: WorkerSpec) -> None:
        self.spec = spec
        self.lock = threading.RLock()
        self._holders: set[object] = set()
        self._process: Optional[WorkerProcess] = None
        self._host: Optional[Server] = None
        self._report: Optional[WorkerReport] = None
        self._environment: Optional[BuiltEnvironment] = None
        _living.add(self)

    # --- leases ---------------------------------------------------------------------------------

    def hold(self, token: object) -> None:
        """Count `token` among those who need the worker."""
        self._holders.add(token)

    def release(self, token: object) -> None:
        """Forget `token`; without any left, end the worker politely, after the call it is in."""
        self._holders.discard(token)
        if not self._holders:
            self.stop()

    def drop(self, token: object) -> None:
        """Forget `token` because its owner is gone, or because the interpreter ends.

        Never waits: whoever is in the middle of a call has a token of its own, but for a daemon
        thread when the interpreter ends. The worker then goes with the process.
        """
        self._holders.discard(token)
        if not self._holders and self.lock.acquire(blocking=False):
            try:
                self.stop(0.0)
            finally:
                self.lock.release()

    # --- the worker -----------------------------------------------------------------------------

    @property
    def environment(self) -> Optional[BuiltEnvironment]:
        """The environment of the last start."""
        return self._environment

    @property
    def started(self) -> Optional[WorkerReport]:
        """The report of the last worker that started, or None; starts nothing."""
        return self._report

    @property
    def log(self) -> str:
        """What the running worker printed last."""
        return self._process.log.text() if self._process is not None else ""

    def report(self) -> WorkerReport:
        """Return what the worker says of itself; start it if it never was."""
        with self.lock:
            if self._report is None:
                self._running()
            if self._report is None:  # _running() raises or sets it
                msg = "the worker sent no report"
                raise ProtocolError(msg)
            return self._report

    def compute(self, structure: Structure, properties: Iterable[str]) -> Results:
        """Evaluate one structure in the worker.

        Raises
        ------
        ModelError
            The model raised; the worker lives on.
        PropertyMissingError
            The model has no such property.
        CallTimeoutError
            No answer within the recipe's ``timeout``; the worker was stopped.
        WorkerDiedError
            The worker died. The next call starts another.
        """
        with self.lock:
            host = self._running()
            try:
                return host.compute(structure, properties, self._deadline(self.spec.timeout))
            except CallTimeoutError:
                raise self._timed_out(self.spec.timeout, "timeout") from None
            except (PeerClosedError, ProtocolError) as error:
                raise self._death(error, phase="while it calculated") from error
            finally:
                if not host.synchronised and not host.reply_pending:
                    self.stop(0.0)

    def stop(self, grace: float = _GRACE) -> None:
        """End the worker, if there is one; the next call starts another."""
        with self.lock:
            process, host = self._process, self._host
            self._process = self._host = None
            if process is None:
                return
            try:
                process.end(grace if grace > 0 and _asked_to_end(host) else 0.0)
            finally:
                process.release()

    def _running(self) -> Server:
        """Return a host that is in step, starting or replacing the worker where needed."""
        host = self._host
        if host is not None and not host.synchronised:
            host = self._recovered(host)
        return host if host is not None else self._start()

    def _recovered(self, host: Server) -> Optional[Server]:
        """Bring a host back in step after an interrupted call, or give its worker up."""
        if host.reply_pending:
            with contextlib.suppress(CallTimeoutError, ProtocolError):  # it is replaced, then
                host.discard(time.monotonic() + _DISCARD)
        if host.synchronised:
            return host
        self.stop(0.0)
        return None

    def _start(self) -> Server:
        spec = self.spec
        device, mask = pin_device(spec.device)
        self._environment = environments.prepare(spec.file, spec.root, spec.progress)
        if spec.root is not None and spec.root.user_layer is not None:
            spec.root.create()
            environments.expose_weights(spec.root, spec.file.name, spec.argument)
        variables = worker_variables(spec.file, spec.root, spec.threads, mask, offline=spec.offline)
        directory = spec.root.work if spec.root is not None else Path("/")
        process = WorkerProcess(self._environment.python, variables, directory)
        self._process, self._host = process, Server(process.connection)
        try:
            report = self._load(self._host, device)
        except BaseException:  # an interrupt too: a worker without a model is of no use
            self.stop(0.0)
            raise
        if mask is not None:
            report["device"] = spec.device
        report["implemented_properties"] = tuple(report["implemented_properties"])
        report["opened"] = tuple(report.get("opened", ()))
        self._report = WorkerReport(**report)
        return self._host

    def _load(self, host: Server, device: str) -> dict[str, Any]:
        spec = self.spec
        config = {
            "file": str(spec.file.path),
            "argument": spec.argument,
            "device": device,
            "options": dict(spec.options),
            "threads": spec.threads,
            "packages": environments.declared_packages(spec.file),
            "watch": spec.watch,
        }
        limit = spec.startup_timeout
        try:
            return host.load(config, self._deadline(limit))
        except ModelError as error:
            advice = "" if spec.offline or spec.root is None else _FETCH.format(spec.text)
            msg = (
                f"model {spec.text!r} could not be loaded: {error} (raised by setup() of "
                f"{spec.file.path} in its environment; the traceback is above){advice}"
            )
            raise SetupError(msg) from error.__cause__
        except CallTimeoutError:
            raise self._timed_out(limit, "startup_timeout") from None
        except (PeerClosedError, ProtocolError) as error:
            raise self._death(error, phase="while it loaded the model") from error

    @staticmethod
    def _deadline(seconds: Optional[float]) -> Optional[float]:
        return None if seconds is None else time.monotonic() + seconds

    def _timed_out(self, seconds: Optional[float], name: str) -> CallTimeoutError:
        """Stop the worker; return the error to raise. `name` is the limit that was exceeded."""
        tail = self._process.log.tail() if self._process is not None else ""
        self.stop(0.0)
        msg = (
            f"model {self.spec.text!r} took longer than {name}={seconds or 0:g} s; its worker "
            f"was stopped, the next call starts another. Give more time with {name}=..."
            + _quoted(tail)
        )
        return CallTimeoutError(msg)

    def _death(self, error: Exception, phase: str) -> WorkerDiedError:
        """Stop what is left of the worker; return the error to raise."""
        process, self._process, self._host = self._process, None, None
        status, tail = None, ""
        if process is not None:
            # After an end of file the process gets a moment to end by itself and show its status.
            status = process.end(1.0 if isinstance(error, PeerClosedError) else 0.0)
            tail = process.log.tail()
            process.release()
        how = describe_exit(status) if isinstance(error, PeerClosedError) else f"failed: {error}"
        msg = (
            f"the worker of model {self.spec.text!r} {how} {phase}. The next call starts another."
            + _quoted(tail)
        )
        return WorkerDiedError(msg, status, tail)

    def _forget_in_child(self) -> None:
        """After a fork: the worker is the parent's. The child starts its own when it needs one."""
        self.lock = threading.RLock()  # another thread of the parent may have held it
        process, self._process, self._host = self._process, None, None
        if process is not None:
            process.release()


def _asked_to_end(host: Optional[Server]) -> bool:
    """Send EXIT to a worker that would read it now; tell if that was done."""
    if host is None or not host.synchronised:
        return False
    try:
        host.exit()
    except (ProtocolError, CallTimeoutError):
        return False
    return True


def _quoted(tail: str) -> str:
    return f"\nThe last lines of its log:\n{tail}" if tail else "\nIts log is empty."


_living: weakref.WeakSet[Session] = weakref.WeakSet()


def _forget_all_in_child() -> None:
    for session in list(_living):
        session._forget_in_child()  # noqa: SLF001  the same module


os.register_at_fork(after_in_child=_forget_all_in_child)
