"""Models for foreign drivers: workers that are i-PI clients of a server somebody else runs.

The process that speaks with the server is this one: a step goes on to the worker by our own wire,
which costs a tenth of a millisecond and leaves all that can go wrong (a worker that dies, a model
that raises, a limit on time) where it is handled already.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, Optional, Union

from ..structures import from_atoms
from ..protocol.data import Structure
from ..errors import CallTimeoutError, ConfigurationError, PropertyMissingError
from ..runtime.session import Session
from .addresses import Address, connect, make_address
from .client import WorkerStatus
from ..protocol.frames import Connection

if TYPE_CHECKING:
    import os
    import socket as sockets
    from collections.abc import Callable, Mapping

    import numpy as np
    from ase import Atoms

    from ..calculator import RootstockCalculator
    from ..protocol.data import FixedInputs
    from ..runtime.spec import WorkerSpec

__all__ = ["Client", "Order", "Service", "serve"]

#: Seconds between two looks at the workers.
_LOOK = 0.5
#: Seconds for threads to end after they were told to.
_PATIENCE = 5.0
#: A server may stop in the middle of a message for so long, in seconds.
_STALL = 60.0


@dataclass(frozen=True)
class WorkerStatus:
    """What one worker of a service does just now.

    Attributes
    ----------
    number : int
        From 1 on.
    state : str
        ``"starting"``, ``"waiting"`` (for the server), ``"connected"`` or ``"ended"``.
    steps : int
        Structures evaluated.
    steps_per_second : float
        Over the last seconds; 0 while not connected.
    """

    number: int
    state: str
    steps: int
    steps_per_second: float


@dataclass(frozen=True)
class ServeOptions:
    """What a service is to do.

    Attributes
    ----------
    recipe : Recipe
        How to start a worker.
    topology : Topology
        Species in the server's order, with everything else that the model reads: the protocol
        carries positions and cell alone.
    address : Address
        Of the server.
    count : int
        Number of workers.
    wait : float or None
        Seconds to wait for the server to come up; None waits for ever.
    reconnect : bool
        Wait for the server again when it ends.
    extras : bool
        Send what the model gives beyond energy, forces and stress.
    """

    spec: WorkerSpec
    fixed_inputs: FixedInputs
    address: Address
    count: int = 1
    wait: Optional[float] = None
    reconnect: bool = False
    extras: bool = True


def serve(  # noqa: PLR0913  each is an option that users know from the command
    calc: RootstockCalculator,
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
    """Let a foreign i-PI server (i-PI, ASE's ``SocketIOCalculator``, ...) drive a model.

    Parameters
    ----------
    calc : RootstockCalculator
        Which model, where, on which device. The workers are new ones.
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
        Send what the model gives beyond energy, forces and stress, as JSON.
    watch : callable
        Called about twice a second with what each worker does.

    Returns
    -------
    tuple of Client
        What each worker has done.

    Raises
    ------
    ConfigurationError
        No address, or one that can't be used.
    CallTimeoutError
        No server came up in time.
    ProtocolError
        The server has another number of atoms, or does not speak the protocol.
    StartupError, CalculationError
        As for any calculation. The connections are closed, which is all a server can be told.
    """
    order = ServeOptions(
        calc.spec,
        from_atoms(atoms).fixed_inputs,
        make_address(socket, unix, host, port),
        count,
        wait,
        reconnect,
        extras,
    )
    service = Service(order)
    service.start()
    try:
        while not service.join(_LOOK):
            watch(service.clients())
    finally:
        service.stop()
    return service.clients()


class Service:
    """Workers of a model, each an i-PI client of the same foreign server.

    Parameters
    ----------
    order : Order
        What to do.
    """

    def __init__(self, order: ServeOptions) -> None:
        if order.count < 1:
            msg = f"count={order.count} must be 1 or more"
            raise ConfigurationError(msg)
        self._stopped = threading.Event()
        self._error: Optional[Exception] = None
        self._members = [
            _ServeThread(order, number, self._stopped, self._fail)
            for number in range(1, order.count + 1)
        ]

    def start(self) -> None:
        """Start the workers; each connects as soon as its model is loaded."""
        for member in self._members:
            member.thread.start()

    def join(self, seconds: float) -> bool:
        """Wait for the end, at most so long; tell if it has come.

        Raises
        ------
        Exception
            What ended a worker, of ours as a rule. All others are stopped then.
        """
        deadline = time.monotonic() + seconds
        for member in self._members:
            member.thread.join(max(0.0, deadline - time.monotonic()))
        if self._error is not None:
            self.stop()
            raise self._error
        return not any(member.thread.is_alive() for member in self._members)

    def clients(self) -> tuple[WorkerStatus, ...]:
        """Return what each worker does just now; rates are those since the last look."""
        return tuple(member.look() for member in self._members)

    def stop(self) -> None:
        """End all connections and workers; one that is busy ends with its call."""
        self._hang_up()
        deadline = time.monotonic() + _PATIENCE
        for member in self._members:
            member.thread.join(max(0.0, deadline - time.monotonic()))

    def _fail(self, error: Exception) -> None:
        """Keep the first error and end the other connections."""
        self._error = self._error or error
        self._hang_up()

    def _hang_up(self) -> None:
        self._stopped.set()
        for member in self._members:
            member.hang_up()


class _ServeThread:
    """One worker and the thread that speaks with the server."""

    def __init__(
        self,
        order: ServeOptions,
        number: int,
        stopped: threading.Event,
        fail: Callable[[Exception], None],
    ) -> None:
        self._order = order
        self._number = number
        self._stopped = stopped
        self._fail = fail
        self._session = Session(order.spec)
        self._socket: Optional[sockets.socket] = None
        self._guest: Optional[Client] = None
        self._before = 0  # steps of former connections
        self._seen = (time.monotonic(), 0)
        self._state = "starting"
        self.thread = threading.Thread(target=self._run, name=f"client {number}", daemon=True)

    def look(self) -> WorkerStatus:
        guest = self._guest
        steps = self._before + (0 if guest is None else guest.evaluated)
        (then, counted), now = self._seen, time.monotonic()
        self._seen = (now, steps)
        rate = (steps - counted) / max(now - then, 1e-9) if self._state == "connected" else 0.0
        return WorkerStatus(self._number, self._state, steps, rate)

    def hang_up(self) -> None:
        """End the connection: a read that waits returns at once."""
        sock = self._socket
        if sock is not None:
            with contextlib.suppress(OSError):  # it has ended by itself
                sock.shutdown(SHUT_RDWR)

    def _run(self) -> None:
        token = object()
        self._session.hold(token)
        try:
            properties = self._properties()
            while self._serve_once(properties) and self._order.reconnect:
                pass
        except Exception as error:  # noqa: BLE001  whatever it is belongs to who asked for this
            if not self._stopped.is_set():
                self._fail(error)
        finally:
            self._state = "ended"
            self._session.release(token)

    def _properties(self) -> tuple[str, ...]:
        implemented = self._session.report().implemented_properties
        for name in ("energy", "forces"):
            if name not in implemented:
                msg = f"model {self._order.spec.text!r} has no {name}, which every driver wants"
                raise PropertyMissingError(msg)
        return implemented

    def _serve_once(self, properties: tuple[str, ...]) -> bool:
        """Serve one connection; tell if another may be waited for."""
        sock = self._connected()
        if sock is None:
            return False
        connection = Connection(sock, _STALL)
        order = self._order
        self._guest = Client(
            connection, self._evaluate, order.fixed_inputs.natoms, properties, extras=order.extras
        )
        self._socket, self._state = sock, "connected"
        try:
            if not self._stopped.is_set():  # told to between the connection and now
                self._guest.run()
        finally:
            steps = self._guest.evaluated
            self._socket = self._guest = None
            self._before += steps
            connection.close()
        return not self._stopped.is_set()

    def _connected(self) -> Optional[sockets.socket]:
        self._state = "waiting"
        wait = self._order.wait
        deadline = None if wait is None else time.monotonic() + wait
        try:
            return connect(self._order.address, deadline, self._stopped.is_set)
        except CallTimeoutError:
            if self._before:  # a server was there; no other one came
                return None
            raise

    def _evaluate(
        self, positions: np.ndarray, cell: np.ndarray, properties: list[str]
    ) -> Mapping[str, Any]:
        structure = Structure(self._order.fixed_inputs, positions, cell)
        return self._session.compute(structure, properties)
