"""The worker's model as a plain i-PI client: of ASE's server and of a scripted one."""

from __future__ import annotations

import json
import os
import socket
import threading

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketIOCalculator
from hypothesis import given, settings
from hypothesis import strategies as st

from rootstock.errors import ModelError, ProtocolError
from rootstock.ipi.client import Client, extras_text
from rootstock.ipi.units import BOHR, HARTREE
from rootstock.protocol import messages as m
from rootstock.protocol.frames import Connection
from rootstock.testing import ScriptedModel
from rootstock.worker.model import EnvironmentModel

ALL = ["energy", "forces", "stress"]


def emt_model(atoms) -> EnvironmentModel:
    """Return the worker's own model around EMT, with its fixed inputs set as by the main process."""
    model = EnvironmentModel()
    model._calculator, model._direct = EMT(), True
    model.set_fixed_inputs({**atoms.arrays, "pbc": atoms.pbc}, {})
    return model


def test_ases_server_drives_the_worker():
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.rattle(0.1, seed=1)
    name = f"rootstock-test-{os.getpid()}"
    served = []

    def serve() -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(f"/tmp/ipi_{name}")
        connection = Connection(sock)
        client = Client(connection, emt_model(atoms).evaluate, len(atoms), ALL)
        served.append((client.run(), client.evaluated))
        connection.close()

    with SocketIOCalculator(unixsocket=name) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        moved = atoms.copy()
        moved.calc = server
        reference = atoms.copy()
        reference.calc = EMT()
        for turn in range(3):
            for other in (moved, reference):
                other.positions += 0.01 * turn
                other.set_cell(other.cell * (1 + 0.01 * turn), scale_atoms=True)
            assert moved.get_potential_energy() == pytest.approx(
                reference.get_potential_energy(), abs=1e-9
            )
            assert np.allclose(moved.get_forces(), reference.get_forces(), rtol=0, atol=1e-9)
            assert np.allclose(moved.get_stress(), reference.get_stress(), rtol=0, atol=1e-9)
    thread.join(5)
    assert served == [(False, 3)]  # ASE closes without EXIT


class Server:
    """A scripted server, whose client runs in a thread."""

    def __init__(self, model=None, natoms: int = 2) -> None:
        client_socket, self.wire = socket.socketpair()
        self.wire.settimeout(5)
        self.model = model or ScriptedModel(
            {"energy": HARTREE, "forces": np.full((natoms, 3), HARTREE / BOHR)}
        )
        self.error: list[Exception] = []
        self.connection = Connection(client_socket)

        def serve() -> None:
            try:
                client = Client(self.connection, self.model.evaluate, natoms, ["energy", "forces"])
                client.run()
            except Exception as error:
                self.error.append(error)
            self.connection.close()

        self.thread = threading.Thread(target=serve)
        self.thread.start()

    def init(self, text: bytes) -> bytes:
        return m.INIT + m.INTEGER.pack(0) + m.INTEGER.pack(len(text)) + text

    def structure(self, natoms: int = 2, value: float = 1.0) -> bytes:
        cells = np.array([np.eye(3) * 10, np.eye(3) / 10]).tobytes()
        return m.POSDATA + cells + m.INTEGER.pack(natoms) + np.full((natoms, 3), value).tobytes()

    def read(self, nbytes: int) -> bytes:
        data = b""
        while len(data) < nbytes:
            part = self.wire.recv(nbytes - len(data))
            if not part:
                break
            data += part
        return data

    def end(self) -> None:
        self.wire.close()
        self.thread.join(5)
        assert not self.thread.is_alive()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.end()


@pytest.mark.parametrize("piece", [1, 7, 10**6])
def test_split_and_coalesced_messages(server, piece):
    data = (
        m.STATUS
        + server.init(b" ")
        + m.STATUS
        + server.structure()
        + m.STATUS
        + m.GETFORCE
        + m.STATUS
    )
    for start in range(0, len(data), piece):
        server.wire.sendall(data[start : start + piece])
    assert server.read(36) == m.NEEDINIT + m.READY + m.HAVEDATA
    assert server.read(12) == m.FORCEREADY
    assert np.frombuffer(server.read(8)) == 1.0
    assert m.INTEGER.unpack(server.read(4)) == (2,)
    assert np.allclose(np.frombuffer(server.read(48)), 1.0)
    assert not np.frombuffer(server.read(72)).any()
    assert m.INTEGER.unpack(server.read(4)) == (0,)
    assert server.read(12) == m.READY
    assert np.allclose(server.model.calls[0]["positions"], BOHR)


def test_batches(server):
    server.model._results = lambda call: {
        "energy": call["positions"][0, 0] / BOHR * HARTREE,
        "forces": call["positions"],
    }
    server.wire.sendall(server.init(b" batch_size:3 , other : 1 "))
    cells = np.array([[np.eye(3), np.eye(3)]] * 3).tobytes()
    positions = np.repeat([1.0, 2.0, 3.0], 6).tobytes()
    server.wire.sendall(m.POSDATA + m.INTEGER.pack(2) + cells + positions + m.GETFORCE)
    assert server.read(12) == m.FORCEREADY
    assert np.allclose(np.frombuffer(server.read(24)), [1, 2, 3])
    assert m.INTEGER.unpack(server.read(4)) == (2,)
    server.read(3 * 48 + 3 * 72)
    assert server.read(12) == bytes(12)


def test_a_second_init_counts_and_positions_without_getforce_do_not(server):
    for text in (b" batch_size:3 ", b"\0\xff not text at all", b""):
        server.wire.sendall(server.init(text) + m.STATUS)
        assert server.read(12) == m.READY
    server.wire.sendall(server.structure(value=1.0) + server.structure(value=2.0) + m.STATUS)
    assert server.read(12) == m.HAVEDATA
    server.wire.sendall(m.GETFORCE + m.EXIT)
    assert server.read(12) == m.FORCEREADY
    server.thread.join(5)
    assert np.allclose(server.model.calls[1]["positions"], 2 * BOHR)
    assert not server.error


@settings(max_examples=50, deadline=None)
@given(text=st.binary(max_size=300).filter(lambda text: b"batch" not in text))
def test_any_init_is_accepted(text):
    server = Server()
    server.wire.sendall(server.init(text) + m.STATUS + m.EXIT)
    assert server.read(12) == m.READY
    server.end()
    assert not server.error


def test_extras_are_the_other_finite_results():
    results = {
        "energy": 1.0,
        "forces": np.zeros((2, 3)),
        "charges": np.array([1.0, -1.0], np.float32),
        "count": 3,
        "flag": np.bool_(True),
        "bad": np.array([np.nan]),
        "raw": np.zeros(2),
        "note": "text",
        "energy_comm": np.array([1.0, 3.0]) * HARTREE,
        "forces_comm": np.ones((2, 2, 3)) * HARTREE / BOHR,
        "stress_comm": np.ones((2, 6)) * HARTREE,
    }
    text = json.loads(extras_text(results, volume=2.0))
    assert set(text) == {
        *("charges", "count", "flag", "committee_pot", "committee_force", "committee_virial")
    }
    assert text["charges"] == [1.0, -1.0]
    assert text["committee_pot"] == [1.0, 3.0]
    assert np.allclose(text["committee_force"], np.ones((2, 6)))
    assert np.allclose(text["committee_virial"], np.full((2, 3, 3), -2.0))
    assert extras_text({"energy": 1.0}, 1.0) == b""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"NONSENSE    ", "not a message"),
        (m.GETFORCE, "before it sent positions"),
        (m.INIT + bytes(4) + m.INTEGER.pack(-3), "INIT of -3"),
        (m.INIT + bytes(4) + m.INTEGER.pack(2**31 - 1), "INIT of"),
        (m.INIT + bytes(4) + m.INTEGER.pack(20) + b"batch_size:999999999", "batches of"),
    ],
)
def test_garbage_is_refused(text, message):
    server = Server()
    server.wire.sendall(text)
    server.thread.join(5)
    with pytest.raises(ProtocolError, match=message):
        raise server.error[0]
    server.end()


def test_another_number_of_atoms_is_an_error():
    server = Server()
    server.wire.sendall(server.structure(natoms=3))
    server.thread.join(5)
    assert "3 atoms" in str(server.error[0])
    server.end()


def test_results_that_are_not_finite_are_not_sent():
    server = Server(ScriptedModel({"energy": np.nan, "forces": np.zeros((2, 3))}))
    server.wire.sendall(server.structure() + m.GETFORCE)
    server.thread.join(5)
    assert isinstance(server.error[0], ModelError)
    with pytest.raises(ConnectionResetError):
        server.read(1)
    server.end()


@pytest.mark.parametrize("sent", [b"", b"POSD", m.POSDATA + bytes(100), m.EXIT])
def test_a_server_that_leaves_ends_the_loop(sent):
    server = Server()
    server.wire.sendall(sent)
    server.end()
    assert not server.error
