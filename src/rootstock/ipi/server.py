"""The server for external i-PI clients: LAMMPS' ``fix ipi``, ASE's ``SocketClient``, others.

Plain i-PI in atomic units, see :mod:`rootstock.protocol.messages`. Clients differ in what they
expect: some want INIT before every step (ASE's), some once, some never. So each step asks for
STATUS, answers NEEDINIT with INIT, and then writes POSDATA and GETFORCE at once: a client that is
still computing reads the latter when it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

import numpy as np

from ..errors import ProtocolError
from ..protocol import messages as m
from ..protocol.frames import MAX_JSON
from .units import BOHR, HARTREE, cell_to_wire

if TYPE_CHECKING:
    from ..protocol.frames import Buffers, Connection

__all__ = ["Reply", "Server"]


@dataclass(frozen=True)
class Reply:
    """A client's results for one structure.

    Attributes
    ----------
    energy : float
        In eV.
    forces : ndarray of float64, shape (n, 3)
        In eV/Å.
    virial : ndarray of float64, shape (3, 3)
        In Hartree, positive under compression; zero from a client that has none.
    extras : str
        Text that the client sent with its results.
    """

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    extras: str


class Server:
    """Drives a plain i-PI client.

    Parameters
    ----------
    connection : Connection
        Connection to the client.
    init : bytes
        Text of INIT, sent to a client that answers NEEDINIT.
    """

    def __init__(self, connection: Connection, init: bytes = b" ") -> None:
        self._connection = connection
        self._init = init
        self.synchronised = True  # no message was sent or received in part

    def evaluate_one(
        self, positions: np.ndarray, cell: np.ndarray, deadline: Optional[float] = None
    ) -> Reply:
        """Evaluate one structure.

        Parameters
        ----------
        positions : ndarray of float64, shape (n, 3)
            In Å.
        cell : ndarray of float64, shape (3, 3)
            Lattice vectors as rows, in Å.
        deadline : float, optional
            Absolute, as :func:`time.monotonic`.

        Raises
        ------
        CallTimeoutError, PeerClosedError, ProtocolError
            The connection can't be used any more.
        """
        self.synchronised = False
        self._connection.deadline = deadline
        self._connection.send([m.STATUS])
        status = self._header(deadline)
        if status == m.HAVEDATA:  # left from an earlier server
            msg = "the client has results that were not requested: start it again"
            raise ProtocolError(msg)
        if status not in (m.READY, m.NEEDINIT):
            msg = f"the client answered STATUS with {status!r}"
            raise ProtocolError(msg)
        self._connection.send(self._request(status, positions, cell))
        if self._header(deadline) != m.FORCEREADY:
            msg = "the client did not answer GETFORCE with FORCEREADY"
            raise ProtocolError(msg)
        reply = self._reply(len(positions))
        self.synchronised = True
        return reply

    def exit(self) -> None:
        """Tell the client to end, without waiting for it to read that."""
        self._connection.deadline = 0.0
        self._connection.send([m.EXIT])

    def _request(self, status: bytes, positions: np.ndarray, cell: np.ndarray) -> Buffers:
        begin: Buffers = [m.INIT, m.INTEGER.pack(0), m.INTEGER.pack(len(self._init)), self._init]
        wire = cell_to_wire(cell)
        # a missing lattice vector has no inverse: clients that read one get the pseudo-inverse
        inverse = np.linalg.pinv(wire)
        return [
            *(begin if status == m.NEEDINIT else []),
            m.POSDATA,
            wire.tobytes(),
            np.ascontiguousarray(inverse).tobytes(),
            m.INTEGER.pack(len(positions)),
            (positions / BOHR).tobytes(),
            m.GETFORCE,
        ]

    def _header(self, deadline: Optional[float]) -> bytes:
        self._connection.deadline = deadline
        self._connection.wait(deadline)
        return self._connection.read_header()

    def _reply(self, natoms: int) -> Reply:
        (energy,) = m.read_floats(self._connection, 1)
        answered = m.read_integer(self._connection)
        if answered != natoms:
            msg = f"the client returned forces of {answered} atoms for a structure of {natoms}"
            raise ProtocolError(msg)
        forces = m.read_floats(self._connection, 3 * natoms).reshape(natoms, 3) * (HARTREE / BOHR)
        virial = m.read_floats(self._connection, 9).reshape(3, 3)
        nbytes = m.read_integer(self._connection)
        if not 0 <= nbytes <= MAX_JSON:
            msg = f"the client announced extras of {nbytes} bytes; at most {MAX_JSON} are accepted"
            raise ProtocolError(msg)
        extras = self._connection.read(nbytes).rstrip(b"\0").decode("utf-8", "replace")
        return Reply(float(energy) * HARTREE, forces, virial, extras)
