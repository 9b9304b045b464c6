"""The client for external i-PI servers: i-PI itself, ASE's ``SocketIOCalculator``, others.

Plain i-PI in atomic units, see :mod:`rootstock.protocol.messages`. The protocol carries no species:
they are fixed inputs of the model, set beforehand. It has no error message either: errors are
raised here, and the caller closes the socket, which a server notices.

Results beyond energy, forces and stress travel as *extras*, a JSON object that i-PI parses: each
property by its name in ASE's units, and a committee in the form of i-PI's ``ffcommittee``, see
:func:`extras_text`.

i-PI announces batches (``batch_size:B`` in the text of INIT) only to a client that answers
NEEDINIT, and then sends B structures at a time::

    POSDATA     12  i4 natoms  B (9 f8 cell, 9 f8 inverse)  B 3N f8 positions
    FORCEREADY  12  B f8 energies  i4 natoms  B 3N f8 forces  B 9 f8 virials  B (i4 n, n bytes)
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError, PeerClosedError, ProtocolError
from ..properties import MECHANICAL
from ..protocol import messages as m
from .units import BOHR, HARTREE, stress_to_virial, wire_to_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..protocol.frames import Connection

    Evaluate = Callable[[np.ndarray, np.ndarray, list[str]], Mapping[str, Any]]

__all__ = ["Client", "extras_text"]

#: Longest text of an INIT that is accepted, in bytes.
_MAX_INIT = 2**20
#: Largest batch that is accepted.
_MAX_BATCH = 4096
_BATCH = re.compile(rb"\bbatch_size\s*:\s*(\d+)")
#: Numbers per structure: the cell and its inverse, which is not needed.
_CELLS = 2 * 9


class Client:
    """Evaluates structures for an external server.

    Parameters
    ----------
    connection : Connection
        Connection to the server.
    evaluate : callable
        ``evaluate(positions, cell, properties)`` returns the results of the model's calculator for
        float64 arrays of shape (n, 3) and (3, 3); ASE's units.
    natoms : int
        Number of atoms of the fixed inputs.
    properties : iterable of str
        The model's implemented properties.
    extras : bool
        Send results beyond energy, forces and stress as JSON.

    Attributes
    ----------
    evaluated : int
        Number of structures so far; may be read from another thread.
    """

    def __init__(
        self,
        connection: Connection,
        evaluate: Evaluate,
        natoms: int,
        properties: Iterable[str],
        *,
        extras: bool = True,
    ) -> None:
        self._connection = connection
        self._evaluate = evaluate
        self._natoms = natoms
        implemented = set(properties)
        self._wanted: list[str] = [
            name for name in ("energy", "forces", "stress") if name in implemented
        ]
        self._extras = extras
        self._ready = False
        self._batch = 1
        self._reply: list[bytes] = []
        self.evaluated = 0

    def run(self) -> bool:
        """Answer the server's messages.

        Returns
        -------
        bool
            True after EXIT, false if the server closed the connection.

        Raises
        ------
        ProtocolError
            The server sent something that is not the protocol, or another number of atoms.
        ModelError
            The model returned non-finite results. Errors of `evaluate` pass through.
        """
        try:
            while (word := self._next()) != m.EXIT:
                self._handle(word)
        except PeerClosedError:
            return False
        return True

    def _next(self) -> bytes:
        """Wait for the next header, without a limit, and read it."""
        self._connection.wait()
        return self._connection.read_header()

    def _handle(self, word: bytes) -> None:
        if word == m.STATUS:
            self._connection.send([self._status()])
        elif word == m.INIT:
            self._read_init()
        elif word == m.POSDATA:
            self._read_structures()
        elif word == m.GETFORCE:
            self._send_forces()
        else:
            msg = f"the server sent {word!r}, which is not a message of i-PI's protocol"
            raise ProtocolError(msg)

    def _status(self) -> bytes:
        if self._reply:
            return m.HAVEDATA
        return m.READY if self._ready else m.NEEDINIT

    def _read_init(self) -> None:
        m.read_integer(self._connection)  # the bead's index, which models don't need
        nbytes = m.read_integer(self._connection)
        if not 0 <= nbytes <= _MAX_INIT:
            msg = f"the server announced an INIT of {nbytes} bytes; at most {_MAX_INIT} are allowed"
            raise ProtocolError(msg)
        announced = _BATCH.search(bytes(self._connection.read(nbytes)))
        self._batch = int(announced[1]) if announced else 1
        if not 1 <= self._batch <= _MAX_BATCH:
            msg = (
                f"the server announced batches of {self._batch} structures; 1 to {_MAX_BATCH} are "
                "accepted"
            )
            raise ProtocolError(msg)
        self._ready = True

    def _read_structures(self) -> None:
        count = self._batch
        if count > 1:
            self._check_natoms(m.read_integer(self._connection))
            cells = m.read_floats(self._connection, count * _CELLS)
        else:
            cells = m.read_floats(self._connection, _CELLS)
            self._check_natoms(m.read_integer(self._connection))
        positions = m.read_floats(self._connection, count * 3 * self._natoms).reshape(
            count, self._natoms, 3
        )
        cells = cells.reshape(count, 2, 9)[:, 0]
        replies = [
            self._evaluate_one(np.ascontiguousarray(wire * BOHR), wire_to_cell(cell))
            for wire, cell in zip(positions, cells)
        ]
        energies, forces, virials, extras = zip(*replies)
        self._reply = [
            m.FORCEREADY,
            np.array(energies).tobytes(),
            m.INTEGER.pack(self._natoms),
            np.array(forces).tobytes(),
            np.array(virials).tobytes(),
            *(m.INTEGER.pack(len(text)) + text for text in extras),
        ]

    def _evaluate_one(
        self, positions: np.ndarray, cell: np.ndarray
    ) -> tuple[float, np.ndarray, np.ndarray, bytes]:
        """Return energy, forces (n, 3) and virial (3, 3), all in atomic units, and extras."""
        results = self._evaluate(positions, cell, self._wanted)
        volume = abs(float(np.linalg.det(cell)))
        energy = float(results["energy"]) / HARTREE
        forces = np.asarray(results["forces"], float) * (BOHR / HARTREE)
        virial = self._virial(results, volume)
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(virial).all()):
            msg = "the model returned non-finite results, which a server would accept silently"
            raise ModelError(msg)
        self.evaluated += 1
        return energy, forces, virial, extras_text(results, volume) if self._extras else b""

    @staticmethod
    def _virial(results: Mapping[str, Any], volume: float) -> np.ndarray:
        """Return the virial in Hartree; zeros without a stress, because i-PI requires a virial."""
        if "stress" not in results or volume == 0:
            return np.zeros((3, 3))
        return stress_to_virial(results["stress"], volume)

    def _send_forces(self) -> None:
        if not self._reply:
            msg = "the server asked for forces before it sent positions"
            raise ProtocolError(msg)
        self._connection.send(list(self._reply))
        self._reply = []

    def _check_natoms(self, natoms: int) -> None:
        if natoms != self._natoms:
            msg = (
                f"the server sent {natoms} atoms, but the structure with the species has "
                f"{self._natoms}: give both the same structure"
            )
            raise ProtocolError(msg)


#: A committee in the results of a calculator (MACE's names): energies, forces, stresses of members.
_COMMITTEE = ("energy_comm", "forces_comm", "stress_comm")


def extras_text(results: Mapping[str, Any], volume: float) -> bytes:
    """Return further results as a JSON object; empty if there are none.

    They are all finite numbers and arrays. A committee (``energy_comm``, shape ``(k,)``,
    ``forces_comm``, ``(k, n, 3)``, ``stress_comm``, ``(k, 6)`` or ``(k, 3, 3)``) becomes i-PI's
    ``committee_pot``, ``committee_force`` and ``committee_virial``, in atomic units.

    Parameters
    ----------
    results : mapping
        Results of the model's calculator, in ASE's units.
    volume : float
        Volume of the cell, in Å³.
    """
    document: dict[str, Any] = {}
    for name, value in results.items():
        if name in MECHANICAL or name in _COMMITTEE or name == "raw":  # "raw" is i-PI's own
            continue
        if isinstance(value, (np.ndarray, np.generic, float, int)):
            array = np.asarray(value)
            if array.dtype.kind in "biuf" and np.isfinite(array).all():
                document[str(name)] = array.tolist()
    energies, forces, stresses = (results.get(name) for name in _COMMITTEE)
    if energies is not None:
        document["committee_pot"] = (np.asarray(energies, float) / HARTREE).tolist()
    if forces is not None:
        per_member = np.asarray(forces, float) * (BOHR / HARTREE)
        document["committee_force"] = per_member.reshape(len(per_member), -1).tolist()
    if stresses is not None:
        document["committee_virial"] = [
            stress_to_virial(stress, volume).tolist() for stress in np.asarray(stresses, float)
        ]
    return json.dumps(document).encode() if document else b""
