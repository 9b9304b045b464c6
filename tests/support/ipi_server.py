"""An i-PI server whose messages a test sends and reads itself."""

from __future__ import annotations

import socket

import numpy as np

from rootstock.ipi.units import BOHR, HARTREE
from rootstock.protocol import messages as m


class ManualServer:
    """A listening socket; each accepted connection is a plain socket."""

    def __init__(self, path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(8)
        self.listener.settimeout(20)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.listener.close()

    def accept(self) -> socket.socket:
        wire, _ = self.listener.accept()
        wire.settimeout(20)
        return wire


def receive(wire, nbytes: int) -> bytes:
    data = b""
    while len(data) < nbytes:
        more = wire.recv(nbytes - len(data))
        assert more, "the client closed the connection"
        data += more
    return data


BOX = np.eye(3) * 10


def hung_up(wire) -> bool:
    """Tell if the client closed the connection, whether or not it had read everything."""
    try:
        return wire.recv(1) == b""
    except ConnectionResetError:
        return True


def step(positions, cell=BOX) -> bytes:
    cells = np.array([cell.T / BOHR, np.linalg.inv(cell.T / BOHR)]).tobytes()
    count = m.INTEGER.pack(len(positions))
    return m.POSDATA + cells + count + (positions / BOHR).tobytes() + m.GETFORCE


def answer(wire, natoms: int):
    assert receive(wire, 12) == m.FORCEREADY
    energy = np.frombuffer(receive(wire, 8))[0] * HARTREE
    assert m.INTEGER.unpack(receive(wire, 4)) == (natoms,)
    forces = np.frombuffer(receive(wire, 24 * natoms)).reshape(natoms, 3) * HARTREE / BOHR
    receive(wire, 72)
    (nbytes,) = m.INTEGER.unpack(receive(wire, 4))
    return energy, forces, receive(wire, nbytes)
