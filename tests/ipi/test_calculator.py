"""IPICalculator with ASE's i-PI client and with scripted clients."""

from __future__ import annotations

import os
import socket
import sys
import threading

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketClient

from rootstock import IPICalculator, StartupError
from rootstock.errors import CallTimeoutError, ModelError, StructureError, WorkerDiedError
from rootstock.ipi.units import HARTREE
from rootstock.protocol import messages as m
from tests.support.ports import free_port
from tests.support.structures import copper
from tests.support.waiting import background


def emt_client(atoms, **address):
    """Run ASE's client with EMT."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    SocketClient(**address).run(atoms, use_stress=True)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_ases_client_answers(kind):
    name = f"rootstock-{os.getpid()}"
    address = {"unix": name} if kind == "unix" else {"port": free_port()}
    client_address = {"unixsocket": name} if kind == "unix" else {"host": "127.0.0.1", **address}
    atoms = copper()
    reference = atoms.copy()
    reference.calc = EMT()
    with IPICalculator(**address, startup_timeout=20) as calc:
        with background(emt_client, atoms, **client_address) as outcome:
            atoms.calc = calc
            for turn in range(3):
                for moved in (atoms, reference):
                    moved.positions += 0.01 * turn
                    moved.set_cell(moved.cell * (1 + 0.01 * turn), scale_atoms=True)
                assert np.isclose(atoms.get_potential_energy(), reference.get_potential_energy())
                assert np.allclose(atoms.get_forces(), reference.get_forces(), rtol=1e-10)
                assert np.allclose(atoms.get_stress(), reference.get_stress(), rtol=1e-10)
            other = atoms.copy()
            other.numbers[0] = 47
            with pytest.raises(StructureError, match="species or the number"):
                calc.get_potential_energy(other)
            other = atoms.copy()
            other.pbc = False
            with pytest.raises(StructureError, match="pbc changed"):
                calc.get_potential_energy(other)
            assert np.isclose(calc.get_potential_energy(atoms), reference.get_potential_energy())
            calc.close()
        assert outcome == [None]  # EXIT ended ASE's client
    if kind == "unix":
        assert not os.path.exists(f"/tmp/ipi_{name}")


def scripted_client(path, *answers: bytes):
    """Connect, send an answer to each message, and close."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(path))
        for answer in answers:
            wire.recv(2**16)
            wire.sendall(answer)


READY = m.READY
REPLY = m.FORCEREADY + np.array([1.0]).tobytes() + m.INTEGER.pack(4) + np.ones(12).tobytes()
REPLY += np.eye(3).tobytes() + m.INTEGER.pack(5) + b"hello"


def test_extras_and_a_molecule(tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    atoms.pbc, atoms.cell = False, None
    with IPICalculator(socket=path) as calc, background(scripted_client, path, READY, REPLY):
        assert calc.get_potential_energy(atoms) == pytest.approx(HARTREE)
        assert calc.extras == "hello"
        assert "stress" not in calc.results


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "closed the connection|connection broke"),
        ([b"HELLO".ljust(12)], "answered STATUS with"),
        ([m.HAVEDATA], "not requested"),
        ([READY], "closed the connection|connection broke"),
        ([READY, REPLY[:50]], "closed the connection|connection broke"),
        ([READY, READY], "did not answer GETFORCE"),
        ([READY, REPLY[:20] + m.INTEGER.pack(5)], "returned forces of 5 atoms"),
        ([READY, REPLY[:-9] + m.INTEGER.pack(-1)], "extras of -1 bytes"),
        ([READY, REPLY[:-9] + m.INTEGER.pack(2**31 - 1)], "at most"),
    ],
)
def test_a_client_that_fails_is_replaced_by_the_next(tmp_path, answers, message):
    path, atoms = tmp_path / "socket", copper(1)
    with IPICalculator(socket=path, timeout=20) as calc:
        with background(scripted_client, path, *answers):
            with pytest.raises(WorkerDiedError, match=message):
                calc.get_potential_energy(atoms)
        with background(scripted_client, path, READY, REPLY):
            assert calc.get_potential_energy(atoms) == pytest.approx(HARTREE)


def test_results_that_are_not_finite_are_an_error(tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    spoiled = REPLY.replace(np.ones(12).tobytes(), np.full(12, np.nan).tobytes())
    with IPICalculator(socket=path) as calc, background(scripted_client, path, READY, spoiled):
        with pytest.raises(ModelError, match="non-finite"):
            calc.get_potential_energy(atoms)
        assert not calc.results


def test_a_client_that_takes_too_long(tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    with IPICalculator(socket=path, timeout=0.2, startup_timeout=0.3) as calc:
        release = threading.Event()

        def slow():
            with socket.socket(socket.AF_UNIX) as wire:
                wire.connect(str(path))
                release.wait(20)

        with background(slow):
            with pytest.raises(CallTimeoutError, match=r"timeout=0\.2 s"):
                calc.get_potential_energy(atoms)
            release.set()
        with pytest.raises(StartupError, match="no client connected"):
            calc.get_potential_energy(atoms)


def test_a_command_that_starts_the_client(tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    script = (
        "import sys\nfrom ase.calculators.emt import EMT\nfrom ase.build import bulk\n"
        "from ase.calculators.socketio import SocketClient\n"
        "atoms = bulk('Cu', cubic=True)\natoms.calc = EMT()\n"
        "SocketClient(unixsocket=sys.argv[1]).run(atoms, use_stress=True)\n"
    )
    name = f"rootstock-{os.getpid()}"
    with IPICalculator(unix=name, command=[sys.executable, "-c", script, name]) as calc:
        atoms.calc = calc
        reference = atoms.copy()
        reference.calc = EMT()
        assert np.isclose(atoms.get_potential_energy(), reference.get_potential_energy())
    with IPICalculator(socket=path, command=[sys.executable, "-c", "exit(3)"]) as calc:
        with pytest.raises(StartupError, match="ended with 3 before it connected"):
            calc.get_potential_energy(atoms)
    with IPICalculator(socket=path, command=["/no/such/program"]) as calc:
        with pytest.raises(StartupError, match="can't be started"):
            calc.get_potential_energy(atoms)
