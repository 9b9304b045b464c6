"""The driver that ``rootstock serve`` runs: models as i-PI clients of an external server.

This process receives each step from the server and has a worker evaluate it through a session,
which adds a tenth of a millisecond. Dead workers, errors of models and time limits are handled as
in every other call.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, Optional, Protocol, Union

from ..errors import CallTimeoutError, ConfigurationError, PropertyMissingError
from ..protocol import frames
from ..protocol.data import Structure
from ..protocol.frames import Connection
from ..structures import from_atoms
from .addresses import Address, connect, make_address
from .client import Client

if TYPE_CHECKING:
    import os
    import socket as sockets
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from ase import Atoms
    from typing_extensions import Self

    from ..protocol.data import FixedInputs

__all__ = ["Driver", "ServeOptions", "WorkerStatus", "serve"]

#: Seconds between two status reports.
_INTERVAL = 0.5
#: Seconds for threads to end after they were told to.
_JOIN_TIMEOUT = 5.0


@dataclass(frozen=True)
class WorkerStatus:
    """The status of one worker.

    Attributes
    ----------
    number : int
        Number of the worker, counted from 1.
    state : str
        ``"starting"``, ``"waiting"`` (for the server), ``"connected"`` or ``"ended"``.
    steps : int
        Number of evaluated structures.
    steps_per_second : float
        Average since the previous status; 0 while not connected.
    """

    number: int
    state: str
    steps: int
    steps_per_second: float


class ServedModel(Protocol):
    """What evaluates structures for a server: a calculator or a committee."""

    @property
    def implemented_properties(self) -> Sequence[str]:
        """ASE's names; starts the worker."""
        ...

    def results_of(self, structure: Structure, wanted: tuple[str, ...]) -> Mapping[str, Any]:
        """Return the results of a structure, in ASE's units."""
        ...

    def with_own_workers(self) -> Self:
        """Return a copy that shares no worker."""
        ...

    def prepare(self) -> object:
        """Build environments if needed."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


@dataclass(frozen=True)
class ServeOptions:
    """Options of a driver.

    Attributes
    ----------
    model : ServedModel
        Makes an independent copy with own workers for each connection.
    fixed_inputs : FixedInputs
        Species in the server's order, with everything else that the model reads: the protocol
        carries positions and cell alone.
    address : Address
        Address of the server.
    count : int
        Number of workers.
    wait : float or None
        Seconds to wait for the server to come up; None waits for ever.
    reconnect : bool
        Wait for the server again when it ends.
    extras : bool
        Send further results of the model as JSON.
    """

    model: ServedModel
    fixed_inputs: FixedInputs
    address: Address
    count: int = 1
    wait: Optional[float] = None
    reconnect: bool = False
    extras: bool = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.wait is not None and not self.wait >= 0:
            msg = f"wait={self.wait:g} must be a number of seconds, zero or more"
            raise ConfigurationError(msg)
        if self.count < 1:
            msg = f"count={self.count} must be a positive integer"
            raise ConfigurationError(msg)


def serve(  # noqa: PLR0913  each is an option that users know from the command
    calc: ServedModel,
    atoms: Atoms,
    *,
    socket: Optional[Union[str, os.PathLike[str]]] = None,
    unix: Optional[str] = None,
    host: Optional[str] = None,
    port: Optional[int] = None,
    count: int = 1,
    wait: Optional[float] = None,
    reconnect: bool = False,
    extras: bool = True,
    watch: Callable[[tuple[WorkerStatus, ...]], object] = lambda _: None,
) -> tuple[WorkerStatus, ...]:
    """Let an external i-PI server (i-PI, ASE's ``SocketIOCalculator``, ...) drive a model.

    Parameters
    ----------
    calc : RootstockCalculator or Committee
        The model, its root and device. Its own worker is not used: new ones are started.
    atoms : Atoms
        Species in the server's order; charges, magnetic moments and ``info`` where the model reads
        them. The protocol carries positions and cell alone.
    socket, unix, host, port
        The server's address: a path, the name of ``/tmp/ipi_NAME``, or a TCP port (on the loopback
        address unless `host` says otherwise).
    count : int
        Number of workers, each a client of its own.
    wait : float, optional
        Seconds to wait for the server to come up; for ever by default.
    reconnect : bool
        Wait for the server again when it ends.
    extras : bool
        Send results beyond energy, forces and stress as JSON.
    watch : callable
        Called about twice a second with the status of each worker.

    Returns
    -------
    tuple of WorkerStatus
        The final status of each worker.

    Raises
    ------
    ConfigurationError
        No address, or an address that can't be used.
    CallTimeoutError
        No server came up in time.
    ProtocolError
        The server sent another number of atoms, or does not speak the protocol.
    StartupError, CalculationError
        As for any calculation. The connections are closed: i-PI has no error message.
    """
    options = ServeOptions(
        calc,
        from_atoms(atoms).fixed_inputs,
        make_address(socket, unix, host, port),
        count,
        wait,
        reconnect,
        extras,
    )
    calc.prepare()  # last: it may build
    driver = Driver(options)
    driver.start()
    try:
        while not driver.join(_INTERVAL):
            watch(driver.statuses())
    finally:
        driver.stop()
    return driver.statuses()


class Driver:
    """Workers of a model, each an i-PI client of the same external server.

    Parameters
    ----------
    options : ServeOptions
        Model, structure, address and number of workers.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._stopped = threading.Event()
        self._error: Optional[Exception] = None
        self._threads = [
            _ServeThread(options, number, self._stopped, self._fail)
            for number in range(1, options.count + 1)
        ]

    def start(self) -> None:
        """Start the workers; each connects as soon as its model is loaded."""
        for thread in self._threads:
            thread.thread.start()

    def join(self, seconds: float) -> bool:
        """Wait at most `seconds` for all workers to end; return whether they have.

        Raises
        ------
        Exception
            The error that ended a worker; the others are stopped.
        """
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.thread.join(max(0.0, deadline - time.monotonic()))
        if self._error is not None:
            self.stop()
            raise self._error
        return not any(thread.thread.is_alive() for thread in self._threads)

    def statuses(self) -> tuple[WorkerStatus, ...]:
        """Return the status of each worker; rates are averages since the last call."""
        return tuple(thread.status() for thread in self._threads)

    def stop(self) -> None:
        """End all connections and workers; a busy worker ends with its call."""
        self._hang_up()
        deadline = time.monotonic() + _JOIN_TIMEOUT
        for thread in self._threads:
            thread.thread.join(max(0.0, deadline - time.monotonic()))

    def _fail(self, error: Exception) -> None:
        """Keep the first error and end the other connections."""
        self._error = self._error or error
        self._hang_up()

    def _hang_up(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.hang_up()


class _ServeThread:
    """A worker and the thread that talks to the server."""

    def __init__(
        self,
        options: ServeOptions,
        number: int,
        stopped: threading.Event,
        fail: Callable[[Exception], None],
    ) -> None:
        self._options = options
        self._number = number
        self._stopped = stopped
        self._fail = fail
        self._model = options.model.with_own_workers()
        self._socket: Optional[sockets.socket] = None
        self._client: Optional[Client] = None
        self._before = 0  # steps of former connections
        self._seen = (time.monotonic(), 0)
        self._state = "starting"
        self.thread = threading.Thread(target=self._run, name=f"client {number}", daemon=True)

    def status(self) -> WorkerStatus:
        client = self._client
        steps = self._before + (0 if client is None else client.evaluated)
        (then, counted), now = self._seen, time.monotonic()
        self._seen = (now, steps)
        rate = (steps - counted) / max(now - then, 1e-9) if self._state == "connected" else 0.0
        return WorkerStatus(self._number, self._state, steps, rate)

    def hang_up(self) -> None:
        """End the connection, so that a waiting read returns at once."""
        sock = self._socket
        if sock is not None:
            with contextlib.suppress(OSError):  # the connection has already ended
                sock.shutdown(SHUT_RDWR)

    def _run(self) -> None:
        try:
            properties = self._properties()
            while self._serve_once(properties) and self._options.reconnect:
                pass
        except Exception as error:  # noqa: BLE001  raised again by join()
            if not self._stopped.is_set():
                self._fail(error)
        finally:
            self._state = "ended"
            self._model.close()

    def _properties(self) -> tuple[str, ...]:
        implemented = tuple(self._model.implemented_properties)
        for name in ("energy", "forces"):
            if name not in implemented:
                msg = f"{self._model} has no {name}, which i-PI requires"
                raise PropertyMissingError(msg)
        return implemented

    def _serve_once(self, properties: tuple[str, ...]) -> bool:
        """Serve one connection; return whether the driver may wait for another."""
        sock = self._connected()
        if sock is None:
            return False
        connection = Connection(sock, frames.STALL)
        options = self._options
        self._client = Client(
            connection,
            self._evaluate,
            options.fixed_inputs.natoms,
            properties,
            extras=options.extras,
        )
        self._socket, self._state = sock, "connected"
        try:
            if not self._stopped.is_set():  # stopped while it connected
                self._client.run()
        finally:
            steps = self._client.evaluated
            self._socket = self._client = None
            self._before += steps
            connection.close()
        return not self._stopped.is_set()

    def _connected(self) -> Optional[sockets.socket]:
        self._state = "waiting"
        wait = self._options.wait
        deadline = None if wait is None else time.monotonic() + wait
        try:
            return connect(self._options.address, deadline, self._stopped.is_set)
        except CallTimeoutError:
            if self._before:  # a server was connected before and has not come back
                return None
            raise

    def _evaluate(
        self, positions: np.ndarray, cell: np.ndarray, properties: list[str]
    ) -> Mapping[str, Any]:
        structure = Structure(self._options.fixed_inputs, positions, cell)
        return self._model.results_of(structure, tuple(properties))
