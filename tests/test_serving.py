"""Models for foreign drivers, and foreign clients as calculators: by hand and with ASE's own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.socketio import SocketClient, SocketIOCalculator

from rootstock import (
    CallTimeoutError,
    ConfigurationError,
    IPICalculator,
    ModelError,
    PropertyMissingError,
    ProtocolError,
    StartupError,
    StructureError,
    WorkerDiedError,
    serve,
)
from rootstock.protocol import messages as m
from rootstock.protocol.addresses import (
    TcpAddress,
    UnixAddress,
    accept,
    connect,
    listen,
    make_address,
)
from rootstock.protocol.units import BOHR, HARTREE


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def copper(n: int = 2):
    atoms = bulk("Cu", cubic=True) * (n, 1, 1)
    atoms.rattle(0.05, seed=1)
    return atoms


@contextlib.contextmanager
def background(function, *arguments, **options):
    """Run something in a thread; yield a list that its result or error ends up in."""
    done = []

    def call():
        try:
            done.append(function(*arguments, **options))
        except BaseException as error:
            done.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield done
    finally:
        thread.join(20)
        assert not thread.is_alive()


# --- addresses --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"unix": "water"}, "/tmp/ipi_water"),
        ({"socket": "/a/b.sock"}, "/a/b.sock"),
        ({"port": 31415}, TcpAddress("127.0.0.1", 31415)),
        ({"port": 31415, "host": "10.0.0.1"}, TcpAddress("10.0.0.1", 31415)),
    ],
)
def test_addresses(given, meant):
    found = make_address(**given)
    assert found == meant or str(found.path) == meant


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "give one of"),
        ({"unix": "a", "port": 1}, "give one of"),
        ({"unix": "a/b"}, "for a path use socket="),
        ({"unix": ""}, "must be a name"),
        ({"port": 0}, "from 1 to 65535"),
        ({"port": 65536}, "from 1 to 65535"),
        ({"port": True}, "from 1 to 65535"),
        ({"unix": "a", "host": "b"}, "goes with port"),
        ({"socket": "/" + "x" * 107}, "is 108 bytes long"),
        ({"socket": "/" + "é" * 54}, "at most 107"),
    ],
)
def test_addresses_that_cannot_be(given, words):
    with pytest.raises(ConfigurationError, match=words):
        make_address(**given)


def test_a_path_of_107_bytes_works(tmp_path):
    path = str(tmp_path / "x")
    path += "y" * (107 - len(os.fsencode(path)))
    address = make_address(socket=path)
    with listen(address) as listener:
        near = connect(address, time.monotonic() + 5)
        far = accept(listener, address, time.monotonic() + 5)
        near.close(), far.close()


def test_a_stale_socket_file_is_replaced_and_a_living_one_is_not(tmp_path):
    path = tmp_path / "socket"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    address = UnixAddress(path)
    with listen(address):
        assert oct(path.stat().st_mode & 0o777) == "0o700"
        with pytest.raises(ConfigurationError, match="another program listens"), listen(address):
            pass
        assert path.exists()
    assert not path.exists()


def test_a_file_in_the_way_is_left_alone(tmp_path):
    path = tmp_path / "socket"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="is no socket"), listen(UnixAddress(path)):
        pass
    assert path.read_text() == "precious"
    nowhere = UnixAddress(tmp_path / "no" / "such" / "folder")
    with pytest.raises(ConfigurationError, match="can't be made"), listen(nowhere):
        pass


def test_a_port_in_use(probe_root):
    port = free_port()
    address = TcpAddress("127.0.0.1", port)
    with listen(address):
        with pytest.raises(ConfigurationError, match="another program listens there"):
            IPICalculator(port=port)


def test_waiting_ends_by_deadline_and_by_stop(tmp_path):
    address = UnixAddress(tmp_path / "socket")
    with pytest.raises(CallTimeoutError, match="no server came up"):
        connect(address, time.monotonic() + 0.15)
    assert connect(address, None, lambda: True) is None
    with pytest.raises(ConfigurationError, match="no host"):
        connect(TcpAddress("no-such-host.invalid", 1), time.monotonic() + 1)


# --- a model for a foreign server -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_ases_server_drives_a_model(make, kind, tmp_path):
    calc = make("probe-emt")
    name = f"rootstock-{os.getpid()}-{kind}"
    where = {"unix": name} if kind == "unix" else {"port": free_port()}
    theirs = {"unixsocket": name} if kind == "unix" else dict(where)
    atoms = copper()
    reference = atoms.copy()
    reference.calc = calc
    with background(serve, calc, atoms, **where, wait=20) as done:
        with SocketIOCalculator(**theirs, timeout=20) as server:
            moved = atoms.copy()
            moved.calc = server
            for turn in range(3):
                for one in (moved, reference):
                    one.positions += 0.01 * turn
                    one.set_cell(one.cell * (1 + 0.01 * turn), scale_atoms=True)
                near = {"rtol": 1e-12, "atol": 1e-11}
                assert np.isclose(
                    moved.get_potential_energy(), reference.get_potential_energy(), **near
                )
                assert np.allclose(moved.get_forces(), reference.get_forces(), **near)
                assert np.allclose(moved.get_stress(), reference.get_stress(), **near)
                assert np.abs(reference.get_stress()).max() > 1e-4
    (clients,) = done
    assert [(c.state, c.steps) for c in clients] == [("ended", 3)]


class Driver:
    """An i-PI server by hand."""

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


def read(wire, nbytes: int) -> bytes:
    data = b""
    while len(data) < nbytes:
        more = wire.recv(nbytes - len(data))
        assert more, "the client closed the connection"
        data += more
    return data


BOX = np.eye(3) * 10


def hung_up(wire) -> bool:
    """Tell if the other end is gone, with or without what it had not read."""
    try:
        return wire.recv(1) == b""
    except ConnectionResetError:
        return True


def step(positions, cell=BOX) -> bytes:
    cells = np.array([cell.T / BOHR, np.linalg.inv(cell.T / BOHR)]).tobytes()
    count = m.INTEGER.pack(len(positions))
    return m.POSDATA + cells + count + (positions / BOHR).tobytes() + m.GETFORCE


def answer(wire, natoms: int):
    assert read(wire, 12) == m.FORCEREADY
    energy = np.frombuffer(read(wire, 8))[0] * HARTREE
    assert m.INTEGER.unpack(read(wire, 4)) == (natoms,)
    forces = np.frombuffer(read(wire, 24 * natoms)).reshape(natoms, 3) * HARTREE / BOHR
    read(wire, 72)
    (nbytes,) = m.INTEGER.unpack(read(wire, 4))
    return energy, forces, read(wire, nbytes)


def test_several_workers_and_the_extras_that_they_send(make, tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    seen = []
    with Driver(path) as driver:
        where = {"socket": path, "count": 3, "watch": seen.append}
        with background(serve, make("probe-reference"), atoms, **where) as done:
            wires = [driver.accept() for _ in range(3)]
            for number, wire in enumerate(wires):
                wire.sendall(m.STATUS)
                assert read(wire, 12) == m.NEEDINIT
                wire.sendall(m.INIT + m.INTEGER.pack(number) + m.INTEGER.pack(1) + b" ")
                wire.sendall(step(atoms.positions + number))
            for number, wire in enumerate(wires):
                one = atoms.copy()
                one.positions += number
                one.set_cell(np.eye(3) * 10)
                one.calc = make("probe-reference")
                energy, forces, text = answer(wire, 4)
                assert energy == pytest.approx(one.get_potential_energy())
                assert np.allclose(forces, one.get_forces())
                extras = json.loads(text)
                assert extras["charges"] == pytest.approx(one.calc.results["charges"].tolist())
                assert not {"energy", "forces", "stress", "note", "odd"} & set(extras)
            time.sleep(0.6)
            for wire in wires:
                wire.sendall(m.EXIT)
                wire.close()
    assert [c.steps for c in done[0]] == [1, 1, 1]
    assert "connected" in {c.state for clients in seen for c in clients}
    assert any(c.steps_per_second > 0 for clients in seen for c in clients)


def test_a_worker_comes_back_when_told_to(make, tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    with background(
        serve, make("probe-null"), atoms, socket=path, reconnect=True, wait=3, extras=False
    ) as done:
        for turn in range(3):
            with Driver(path) as driver, driver.accept() as wire:
                wire.sendall(step(atoms.positions))
                assert answer(wire, 4)[2] == b""
                if turn != 1:
                    wire.sendall(m.EXIT)  # the second server just goes
            path.unlink()
    assert [(c.state, c.steps) for c in done[0]] == [("ended", 3)]


def test_the_wrong_number_of_atoms(make, tmp_path):
    path = tmp_path / "socket"
    with Driver(path) as driver:
        with background(serve, make("probe-null"), copper(1), socket=path) as done:
            with driver.accept() as wire:
                wire.sendall(step(np.zeros((5, 3))))
                assert hung_up(wire)  # all that a server can be told
    assert isinstance(done[0], ProtocolError)
    assert "the server sent 5 atoms" in str(done[0]) and "has 4" in str(done[0])


@pytest.mark.parametrize(
    ("do", "kind", "words"),
    [
        ("nan", ModelError, "not finite"),
        ("raise", ModelError, "the model's own words"),
        ("SIGKILL", WorkerDiedError, "SIGKILL"),
        ("exit-3", WorkerDiedError, "exit code 3"),
    ],
)
def test_a_model_that_fails_closes_the_connection_and_says_why(make, tmp_path, do, kind, words):
    path, atoms = tmp_path / "socket", copper(1)
    atoms.info["do"] = do
    with Driver(path) as driver:
        with background(serve, make("probe-misbehaving"), atoms, socket=path) as done:
            with driver.accept() as wire:
                wire.sendall(step(atoms.positions))
                assert hung_up(wire)
    assert isinstance(done[0], kind), done
    assert words in str(done[0])


def test_a_model_that_does_not_load(make, tmp_path):
    with pytest.raises(StartupError, match="the model's own words"):
        serve(make("probe-do-raise"), copper(1), socket=tmp_path / "none")
    with pytest.raises(PropertyMissingError, match="has no forces"):
        serve(make("probe-world"), copper(1), socket=tmp_path / "none")


def test_a_server_that_dies_in_mid_step(make, tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    with Driver(path) as driver:
        with background(serve, make("probe-null"), atoms, socket=path) as done:
            with driver.accept() as wire:
                wire.sendall(step(atoms.positions)[:100])
    assert [(c.state, c.steps) for c in done[0]] == [("ended", 0)]


def test_a_server_may_take_its_time_between_steps_but_not_in_a_message(make, tmp_path, monkeypatch):
    monkeypatch.setattr("rootstock.serving._STALL", 0.3)
    path, atoms = tmp_path / "socket", copper(1)
    with Driver(path) as driver:
        with background(serve, make("probe-null"), atoms, socket=path) as done:
            with driver.accept() as wire:
                for _ in range(2):
                    time.sleep(0.8)
                    wire.sendall(step(atoms.positions))
                    answer(wire, 4)
                wire.sendall(step(atoms.positions)[:100])
                assert hung_up(wire)
    assert isinstance(done[0], ProtocolError) and "in the middle of a message" in str(done[0])


def test_no_server_in_time(make, tmp_path):
    with pytest.raises(CallTimeoutError, match="no server came up"):
        serve(make("probe-null"), copper(1), socket=tmp_path / "none", wait=0.2)
    with pytest.raises(ConfigurationError, match="count=0"):
        serve(make("probe-null"), copper(1), socket=tmp_path / "none", count=0)
    with pytest.raises(StructureError):
        serve(make("probe-null"), copper(1)[:0], socket=tmp_path / "none")


def command(root, structure, *options):
    words = [sys.executable, "-m", "rootstock", "serve", "probe-null", "--root", root]
    words += ["--structure", structure, "--device", "cpu", *options]
    return subprocess.Popen(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell lets what it runs in the background ignore SIGINT, this test suite perhaps
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_command_and_its_end(probe_root, tmp_path, name):
    path, structure = tmp_path / "socket", tmp_path / "cu.xyz"
    atoms = copper(1)
    atoms.write(structure)
    with Driver(path) as driver:
        process = command(probe_root, structure, "--socket", path, "--json", "--count", "2")
        wires = [driver.accept() for _ in range(2)]
        for wire in wires:
            wire.sendall(step(atoms.positions))
            answer(wire, 4)
        lines = []
        while not lines or [c["state"] for c in lines[-1]["clients"]] != ["connected"] * 2:
            lines.append(json.loads(process.stdout.readline()))
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=20)
        for wire in wires:
            assert hung_up(wire)
            wire.close()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


def test_the_command_ends_with_the_server(probe_root, tmp_path):
    path, structure = tmp_path / "socket", tmp_path / "cu.xyz"
    atoms = copper(1)
    atoms.write(structure)
    with Driver(path) as driver:
        process = command(probe_root, structure, "--socket", path)
        with driver.accept() as wire:
            wire.sendall(step(atoms.positions))
            answer(wire, 4)
            wire.sendall(m.EXIT)
            out, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert out.splitlines()[-1] == "worker 1: ended, 1 steps"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], 2, "give one of socket"),
        (["--unix", "a", "--port", "1"], 2, "give one of socket"),
        (["--unix", "rootstock-none", "--wait", "0.2"], 7, "no server came up"),
    ],
)
def test_the_command_refuses(probe_root, tmp_path, options, code, words):
    structure = tmp_path / "cu.xyz"
    copper(1).write(structure)
    process = command(probe_root, structure, *options)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code, errors
    assert words in errors and "Traceback" not in errors


# --- a foreign client as a calculator ---------------------------------------------------------------


def emt_client(atoms, **where):
    """ASE's own client, in a thread."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    SocketClient(**where).run(atoms, use_stress=True)


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_ases_client_answers(kind):
    name = f"rootstock-{os.getpid()}"
    where = {"unix": name} if kind == "unix" else {"port": free_port()}
    theirs = {"unixsocket": name} if kind == "unix" else {"host": "127.0.0.1", **where}
    atoms = copper()
    reference = atoms.copy()
    reference.calc = EMT()
    with IPICalculator(**where, startup_timeout=20) as calc:
        with background(emt_client, atoms, **theirs) as done:
            atoms.calc = calc
            for turn in range(3):
                for one in (atoms, reference):
                    one.positions += 0.01 * turn
                    one.set_cell(one.cell * (1 + 0.01 * turn), scale_atoms=True)
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
        assert done == [None]  # ASE's client was told to end, and did
    if kind == "unix":
        assert not os.path.exists(f"/tmp/ipi_{name}")


def hand_client(path, *answers: bytes):
    """Answer as told; then close."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(path))
        for one in answers:
            wire.recv(2**16)
            wire.sendall(one)


READY = m.READY
REPLY = m.FORCEREADY + np.array([1.0]).tobytes() + m.INTEGER.pack(4) + np.ones(12).tobytes()
REPLY += np.eye(3).tobytes() + m.INTEGER.pack(5) + b"hello"


def test_extras_and_a_molecule(tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    atoms.pbc, atoms.cell = False, None
    with IPICalculator(socket=path) as calc, background(hand_client, path, READY, REPLY):
        assert calc.get_potential_energy(atoms) == pytest.approx(HARTREE)
        assert calc.extras == "hello"
        assert "stress" not in calc.results


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "closed the connection|connection broke"),
        ([b"HELLO".ljust(12)], "answered STATUS with"),
        ([m.HAVEDATA], "nobody asked for"),
        ([READY], "closed the connection|connection broke"),
        ([READY, REPLY[:50]], "closed the connection|connection broke"),
        ([READY, READY], "did not answer GETFORCE"),
        ([READY, REPLY[:20] + m.INTEGER.pack(5)], "answered for 5 atoms"),
        ([READY, REPLY[:-9] + m.INTEGER.pack(-1)], "extras of -1 bytes"),
        ([READY, REPLY[:-9] + m.INTEGER.pack(2**31 - 1)], "at most"),
    ],
)
def test_clients_that_break_and_the_next_one(tmp_path, answers, words):
    path, atoms = tmp_path / "socket", copper(1)
    with IPICalculator(socket=path, timeout=20) as calc:
        with background(hand_client, path, *answers):
            with pytest.raises(WorkerDiedError, match=words):
                calc.get_potential_energy(atoms)
        with background(hand_client, path, READY, REPLY):
            assert calc.get_potential_energy(atoms) == pytest.approx(HARTREE)


def test_numbers_that_are_none(tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    spoiled = REPLY.replace(np.ones(12).tobytes(), np.full(12, np.nan).tobytes())
    with IPICalculator(socket=path) as calc, background(hand_client, path, READY, spoiled):
        with pytest.raises(ModelError, match="not finite"):
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
