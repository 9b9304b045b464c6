"""The answering side for a foreign i-PI server: i-PI itself, ASE's ``SocketIOCalculator``, others.

Plain i-PI in atomic units, see :mod:`rootstock.protocol.messages`. The protocol carries no species:
they are the model's topology, set beforehand. It has no error message either: whatever goes wrong
is raised here, and the caller closes the socket, which is what a server notices.

i-PI announces batches (``batch_size:B`` in the text of INIT) only to a client that answers
NEEDINIT, and then sends B structures at a time::

    POSDATA     12  i4 natoms  B (9 f8 cell, 9 f8 inverse)  B 3N f8 positions
    FORCEREADY  12  B f8 energies  i4 natoms  B 3N f8 forces  B 9 f8 virials  B (i4 n, n bytes)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError, PeerClosedError, ProtocolError
from . import messages as m
from .units import BOHR, HARTREE, stress_to_virial, wire_to_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .frames import Connection
    from .guest import Model

__all__ = ["serve_foreign"]

#: Longest text of an INIT that is accepted, in bytes.
_MAX_INIT = 2**20
#: Largest batch that is accepted.
_MAX_BATCH = 4096
_BATCH = re.compile(rb"\bbatch_size\s*:\s*(\d+)")
_CELLS = 2 * 9  # of a structure: the cell and its inverse, which is not needed


def serve_foreign(connection: Connection, model: Model, natoms: int, properties: list[str]) -> int:
    """Answer a foreign server until EXIT, or until it closes the connection.

    Parameters
    ----------
    connection : Connection
        To the server.
    model : Model
        Loaded, its topology set.
    natoms : int
        Number of atoms of that topology.
    properties : list of str
        What the model implements.

    Returns
    -------
    int
        Number of structures evaluated.

    Raises
    ------
    ProtocolError
        The server sent something that is not the protocol, or another number of atoms.
    ModelError
        The model gave something that is not finite. What the model raises passes through.
    """
    guest = _ForeignGuest(connection, model, natoms, properties)
    try:
        guest.run()
    except PeerClosedError:
        return guest.evaluated
    return guest.evaluated


class _ForeignGuest:
    """State of the answering side: what was announced, and the answer that waits to be fetched."""

    def __init__(
        self, connection: Connection, model: Model, natoms: int, properties: list[str]
    ) -> None:
        self._connection = connection
        self._model = model
        self._natoms = natoms
        self._wanted: list[str] = [
            name for name in ("energy", "forces", "stress") if name in properties
        ]
        self._ready = False
        self._batch = 1
        self._answer: list[bytes] = []
        self.evaluated = 0

    def run(self) -> None:
        """Answer until EXIT."""
        while True:
            word = self._connection.read_header()
            if word == m.STATUS:
                self._connection.send([self._status()])
            elif word == m.INIT:
                self._take_init()
            elif word == m.POSDATA:
                self._take_structures()
            elif word == m.GETFORCE:
                self._give_forces()
            elif word == m.EXIT:
                return
            else:
                msg = f"the server sent {word!r}, which is no message of i-PI's protocol"
                raise ProtocolError(msg)

    def _status(self) -> bytes:
        if self._answer:
            return m.HAVEDATA
        return m.READY if self._ready else m.NEEDINIT

    def _take_init(self) -> None:
        self._read_integer()  # the bead's index: every bead is the same to a model
        nbytes = self._read_integer()
        if not 0 <= nbytes <= _MAX_INIT:
            msg = f"the server announced an INIT of {nbytes} bytes"
            raise ProtocolError(msg)
        announced = _BATCH.search(bytes(self._connection.read(nbytes)))
        self._batch = int(announced[1]) if announced else 1
        if not 1 <= self._batch <= _MAX_BATCH:
            msg = f"the server announced batches of {self._batch} structures"
            raise ProtocolError(msg)
        self._ready = True

    def _take_structures(self) -> None:
        count = self._batch
        if count > 1:
            self._check_natoms(self._read_integer())
            cells = self._read_floats(count * _CELLS)
        else:
            cells = self._read_floats(_CELLS)
            self._check_natoms(self._read_integer())
        positions = self._read_floats(count * 3 * self._natoms).reshape(count, self._natoms, 3)
        cells = cells.reshape(count, 2, 9)[:, 0]
        found = [
            self._evaluate(np.ascontiguousarray(one * BOHR), wire_to_cell(cell))
            for one, cell in zip(positions, cells)
        ]
        energies, forces, virials = zip(*found)
        self._answer = [
            m.FORCEREADY,
            np.array(energies).tobytes(),
            m.INTEGER.pack(self._natoms),
            np.array(forces).tobytes(),
            np.array(virials).tobytes(),
            m.INTEGER.pack(0) * count,
        ]

    def _evaluate(
        self, positions: np.ndarray, cell: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Return energy, forces and virial in atomic units."""
        found = self._model.compute(positions, cell, self._wanted)
        energy = float(found["energy"]) / HARTREE
        forces = np.asarray(found["forces"], float) * (BOHR / HARTREE)
        virial = self._virial(found, abs(float(np.linalg.det(cell))))
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(virial).all()):
            msg = (
                "the model gave results that are not finite; a server would accept them in silence"
            )
            raise ModelError(msg)
        self.evaluated += 1
        return energy, forces, virial

    @staticmethod
    def _virial(found: Mapping[str, Any], volume: float) -> np.ndarray:
        """Return the virial; zero where the model has no stress, which is all i-PI can be told."""
        if "stress" not in found or volume == 0:
            return np.zeros((3, 3))
        return stress_to_virial(found["stress"], volume)

    def _give_forces(self) -> None:
        if not self._answer:
            msg = "the server asked for forces before it sent positions"
            raise ProtocolError(msg)
        self._connection.send(list(self._answer))
        self._answer = []

    def _check_natoms(self, natoms: int) -> None:
        if natoms != self._natoms:
            msg = (
                f"the server sent {natoms} atoms, but the structure that species are taken from "
                f"has {self._natoms}: give both the same structure"
            )
            raise ProtocolError(msg)

    def _read_integer(self) -> int:
        (value,) = m.INTEGER.unpack(self._connection.read(m.INTEGER.size))
        return int(value)

    def _read_floats(self, count: int) -> np.ndarray:
        return np.frombuffer(self._connection.read(8 * count), np.float64)
