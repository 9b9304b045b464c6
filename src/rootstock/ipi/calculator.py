"""External programs as ASE calculators: Rootstock is the i-PI server, the program the client."""

from __future__ import annotations

import contextlib
import time
import weakref
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from .._version import __version__
from ..errors import (
    CalculationError,
    CallTimeoutError,
    PeerClosedError,
    PropertyMissingError,
    ProtocolError,
    StartupError,
    StructureError,
    WorkerDiedError,
)
from ..properties import MECHANICAL, check_results, property_names, require_properties
from ..protocol import frames
from ..protocol.frames import Connection
from ..structures import from_atoms
from ..support.processes import ChildProcess
from .addresses import accept, listen, make_address
from .server import Server
from .units import virial_to_stress

if TYPE_CHECKING:
    import os
    import socket as sockets
    from collections.abc import Iterable, Iterator, Sequence

    from ase import Atoms
    from typing_extensions import Self

    from ..evaluation.evaluator import Outcome
    from ..protocol.data import FixedInputs, Results, Structure
    from .addresses import Address
    from .server import Reply

__all__ = ["IPICalculator"]

_STARTUP_TIMEOUT = 600.0
#: Seconds for a client that was told to end.
_GRACE = 5.0


class IPICalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """An ASE calculator whose results come from any i-PI client.

    Clients are LAMMPS (``fix ipi``), Quantum ESPRESSO, FHI-aims, CP2K, Siesta, DFTB+,
    ``i-pi-driver``, ASE's ``SocketClient``, ...: start one with the address given here, or have it
    started with `command`.

    Parameters
    ----------
    socket, unix, host, port
        Where to listen: the path of a Unix socket, the name of ``/tmp/ipi_NAME``, or a TCP port (on
        the loopback address unless `host` says otherwise). Exactly one address.
    command : sequence of str, optional
        Command that starts the client at the first calculation. The client ends with the
        calculator.
    directory : path-like, optional
        Where `command` runs.
    timeout : float, optional
        Seconds that a calculation may take; no limit by default.
    startup_timeout : float or None
        Seconds that a client may take to connect.

    Raises
    ------
    ConfigurationError
        No address, one in use, or an invalid one.

    Notes
    -----
    It listens from its construction on, so that clients can be started after it. The protocol has
    no species: a client knows its own structure, in its own order. So species and ``pbc`` are those
    of the first calculation, and later structures with others are refused. Stress (eV/Å³, positive
    under tension, Voigt order xx yy zz yz xz xy) is returned for structures with three lattice
    vectors; a client without a stress sends zeros.

    Attributes
    ----------
    extras : str
        Text that the client added to its last results.
    """

    name = "ipi"
    implemented_properties = MECHANICAL

    def __init__(  # noqa: PLR0913  the public interface: each is a keyword that users know
        self,
        *,
        socket: Optional[Union[str, os.PathLike[str]]] = None,
        unix: Optional[str] = None,
        host: Optional[str] = None,
        port: Optional[int] = None,
        command: Optional[Sequence[str]] = None,
        directory: Optional[Union[str, os.PathLike[str]]] = None,
        timeout: Optional[float] = None,
        startup_timeout: Optional[float] = _STARTUP_TIMEOUT,
    ) -> None:
        super().__init__()
        self.extras = ""
        self._address = make_address(socket, unix, host, port)
        self._timeout = timeout
        self._command = None if command is None else [str(word) for word in command]
        self._listener = _Listener(self._address, command, directory, startup_timeout)
        weakref.finalize(self, self._listener.close)

    @property
    def address(self) -> Address:
        """The address to give to clients."""
        return self._address

    def calculate(
        self,
        atoms: Optional[Atoms] = None,
        properties: Iterable[str] = ("energy",),
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Calculate; :attr:`results` then holds energy, forces and, for three vectors, stress.

        Raises
        ------
        StructureError
            Species or ``pbc`` are not those of the client.
        StartupError
            No client connected, or `command` ended before it connected.
        ModelError
            The client returned non-finite results.
        WorkerDiedError, CallTimeoutError
            The connection failed; the next calculation waits for another client.
        """
        super().calculate(atoms, properties, system_changes)
        self.results = self._evaluate_one(from_atoms(self.atoms), properties)

    def evaluate(
        self, structures: Iterable[Structure], properties: Iterable[str]
    ) -> Iterator[Outcome]:
        """Yield the results of each structure in ASE's units, or its error, in order.

        Raises
        ------
        StartupError
            No client connected, or `command` ended before it connected.
        """
        wanted = property_names(properties)
        for structure in structures:
            try:
                results = self._evaluate_one(structure, wanted)
                require_properties(results, wanted)
                outcome: Outcome = results
            except (CalculationError, PropertyMissingError, StructureError) as error:
                outcome = error
            yield outcome

    @property
    def provenance(self) -> dict[str, Any]:
        """Rootstock's version, the address and `command`; the protocol does not name clients."""
        return {"rootstock": __version__, "address": str(self._address), "command": self._command}

    def _evaluate_one(self, structure: Structure, properties: Iterable[str]) -> Results:
        connection = self._listener.connection(structure.fixed_inputs)
        connection.check(structure)
        try:
            reply = connection.evaluate_one(structure, self._timeout)
        except BaseException:  # an interrupt too: the stream may be out of step
            self._listener.drop()
            raise
        results: Results = {
            "energy": reply.energy,
            "free_energy": reply.energy,
            "forces": reply.forces,
        }
        volume = abs(float(np.linalg.det(structure.cell)))
        if volume > 0:
            results["stress"] = virial_to_stress(reply.virial, volume)
        check_results(results, len(structure.positions))
        self.extras = reply.extras
        if "stress" in properties and "stress" not in results:
            msg = "stress needs a cell with three lattice vectors: set them, or don't ask for it"
            raise PropertyMissingError(msg)
        return results

    def close(self) -> None:
        """End the client and stop listening."""
        self._listener.close()

    def __enter__(self) -> Self:
        """Return the calculator itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the client and stop listening."""
        self.close()


class _Listener:
    """The listening socket and the connected client; holds no reference to the calculator."""

    def __init__(
        self,
        address: Address,
        command: Optional[Sequence[str]],
        directory: Optional[Union[str, os.PathLike[str]]],
        limit: Optional[float],
    ) -> None:
        self._address = address
        self._command = None if command is None else [str(word) for word in command]
        self._directory = directory
        self._limit = limit
        self._open = contextlib.ExitStack()
        self._listener = self._open.enter_context(listen(address))
        self._connection: Optional[_Connection] = None

    def connection(self, fixed_inputs: FixedInputs) -> _Connection:
        """Return the connection to the client; wait until a client connects."""
        if self._connection is None:
            process = self._start()
            try:
                sock = self._accept(process)
            except BaseException:
                _end(process, 0.0)
                raise
            self._connection = _Connection(sock, process, fixed_inputs)
        return self._connection

    def drop(self) -> None:
        """End the client."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """End the client and stop listening."""
        self.drop()
        self._open.close()

    def _accept(self, process: Optional[ChildProcess]) -> sockets.socket:
        def alive() -> None:
            if process is not None and process.wait(0):
                msg = (
                    f"the client {self._command} ended with {process.end()} before it connected to "
                    f"{self._address}: check its address and its output"
                )
                raise StartupError(msg)

        deadline = None if self._limit is None else time.monotonic() + self._limit
        try:
            return accept(self._listener, self._address, deadline, alive)
        except CallTimeoutError as error:
            msg = f"{error} (startup_timeout={self._limit:g} s): start a client with this address"
            raise StartupError(msg) from None

    def _start(self) -> Optional[ChildProcess]:
        if self._command is None:
            return None
        try:
            return ChildProcess(self._command, cwd=self._directory)
        except OSError as error:
            msg = f"the client {self._command} can't be started: {error.strerror}"
            raise StartupError(msg) from error


class _Connection:
    """A connected client and the species and ``pbc`` that it was connected for."""

    def __init__(
        self,
        sock: sockets.socket,
        process: Optional[ChildProcess],
        fixed_inputs: FixedInputs,
    ) -> None:
        self._connection = Connection(sock, frames.STALL)
        self._server = Server(self._connection)
        self._process = process
        self._numbers, self._pbc = fixed_inputs.arrays["numbers"], fixed_inputs.arrays["pbc"]

    def check(self, structure: Structure) -> None:
        new = structure.fixed_inputs.arrays
        same = np.array_equal(new["numbers"], self._numbers)
        if same and np.array_equal(new["pbc"], self._pbc):
            return
        changed = "pbc" if same else "species or the number of atoms"
        msg = (
            f"{changed} changed, which i-PI's protocol can't send to the client: make another "
            "IPICalculator with another client"
        )
        raise StructureError(msg)

    def evaluate_one(self, structure: Structure, timeout: Optional[float]) -> Reply:
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            return self._server.evaluate_one(structure.positions, structure.cell, deadline)
        except CallTimeoutError:
            msg = f"the client took longer than timeout={timeout:g} s; its connection was closed"
            raise CallTimeoutError(msg) from None
        except (PeerClosedError, ProtocolError) as error:
            msg = f"the i-PI client failed: {error}. The next calculation waits for another client."
            raise WorkerDiedError(msg, None, "") from error

    def close(self) -> None:
        synchronised = self._server.synchronised
        with contextlib.suppress(ProtocolError, CallTimeoutError):  # it may be gone
            if synchronised:
                self._server.exit()
        self._connection.close()
        _end(self._process, _GRACE if synchronised else 0.0)


def _end(process: Optional[ChildProcess], grace: float) -> None:
    """Wait up to `grace` seconds for a process to end, then kill it and its children."""
    if process is None:
        return
    process.end(grace)
    process.release()
