"""serve() with ASE's i-PI server and with a scripted one."""

from __future__ import annotations

import json
import os
import time

import numpy as np
import pytest
from ase.calculators.socketio import SocketIOCalculator

from rootstock import ConfigurationError, StartupError, serve
from rootstock.errors import (
    CallTimeoutError,
    ModelError,
    PropertyMissingError,
    ProtocolError,
    StructureError,
    WorkerDiedError,
)
from rootstock.protocol import messages as m
from tests.support.ipi_server import ManualServer, answer, hung_up, receive, step
from tests.support.ports import free_port
from tests.support.structures import copper
from tests.support.waiting import background


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_ases_server_drives_a_model(make, kind, tmp_path):
    calc = make("probe-emt")
    name = f"rootstock-{os.getpid()}-{kind}"
    address = {"unix": name} if kind == "unix" else {"port": free_port()}
    server_address = {"unixsocket": name} if kind == "unix" else dict(address)
    atoms = copper()
    reference = atoms.copy()
    reference.calc = calc
    with background(serve, calc, atoms, **address, wait=20) as outcome:
        with SocketIOCalculator(**server_address, timeout=20) as server:
            moved = atoms.copy()
            moved.calc = server
            for turn in range(3):
                for other in (moved, reference):
                    other.positions += 0.01 * turn
                    other.set_cell(other.cell * (1 + 0.01 * turn), scale_atoms=True)
                tolerances = {"rtol": 1e-12, "atol": 1e-11}
                assert np.isclose(
                    moved.get_potential_energy(), reference.get_potential_energy(), **tolerances
                )
                assert np.allclose(moved.get_forces(), reference.get_forces(), **tolerances)
                assert np.allclose(moved.get_stress(), reference.get_stress(), **tolerances)
                assert np.abs(reference.get_stress()).max() > 1e-4
    (clients,) = outcome
    assert [(c.state, c.steps) for c in clients] == [("ended", 3)]


def test_several_workers_and_the_extras_that_they_send(make, tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    statuses = []
    with ManualServer(path) as server:
        options = {"socket": path, "count": 3, "watch": statuses.append}
        with background(serve, make("probe-reference"), atoms, **options) as outcome:
            wires = [server.accept() for _ in range(3)]
            for number, wire in enumerate(wires):
                wire.sendall(m.STATUS)
                assert receive(wire, 12) == m.NEEDINIT
                wire.sendall(m.INIT + m.INTEGER.pack(number) + m.INTEGER.pack(1) + b" ")
                wire.sendall(step(atoms.positions + number))
            for number, wire in enumerate(wires):
                expected = atoms.copy()
                expected.positions += number
                expected.set_cell(np.eye(3) * 10)
                expected.calc = make("probe-reference")
                energy, forces, text = answer(wire, 4)
                assert energy == pytest.approx(expected.get_potential_energy())
                assert np.allclose(forces, expected.get_forces())
                extras = json.loads(text)
                assert extras["charges"] == pytest.approx(expected.calc.results["charges"].tolist())
                assert not {"energy", "forces", "stress", "note", "odd"} & set(extras)
            time.sleep(0.6)
            for wire in wires:
                wire.sendall(m.EXIT)
                wire.close()
    assert [c.steps for c in outcome[0]] == [1, 1, 1]
    assert "connected" in {c.state for clients in statuses for c in clients}
    assert any(c.steps_per_second > 0 for clients in statuses for c in clients)


def test_a_worker_reconnects_on_request(make, tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    with background(
        serve, make("probe-null"), atoms, socket=path, reconnect=True, wait=3, extras=False
    ) as outcome:
        for turn in range(3):
            with ManualServer(path) as server, server.accept() as wire:
                wire.sendall(step(atoms.positions))
                assert answer(wire, 4)[2] == b""
                if turn != 1:
                    wire.sendall(m.EXIT)  # the second server closes without EXIT
            path.unlink()
    assert [(c.state, c.steps) for c in outcome[0]] == [("ended", 3)]


def test_the_wrong_number_of_atoms(make, tmp_path):
    path = tmp_path / "socket"
    with ManualServer(path) as server:
        with background(serve, make("probe-null"), copper(1), socket=path) as outcome:
            with server.accept() as wire:
                wire.sendall(step(np.zeros((5, 3))))
                assert hung_up(wire)  # the protocol has no message for errors
    assert isinstance(outcome[0], ProtocolError)
    assert "the server sent 5 atoms" in str(outcome[0]) and "has 4" in str(outcome[0])


@pytest.mark.parametrize(
    ("action", "kind", "message"),
    [
        ("nan", ModelError, "non-finite"),
        ("raise", ModelError, "the model's own words"),
        ("SIGKILL", WorkerDiedError, "SIGKILL"),
        ("exit-3", WorkerDiedError, "exit code 3"),
    ],
)
def test_a_model_that_fails_closes_the_connection(make, tmp_path, action, kind, message):
    path, atoms = tmp_path / "socket", copper(1)
    atoms.info["do"] = action
    with ManualServer(path) as server:
        with background(serve, make("probe-misbehaving"), atoms, socket=path) as outcome:
            with server.accept() as wire:
                wire.sendall(step(atoms.positions))
                assert hung_up(wire)
    assert isinstance(outcome[0], kind), outcome
    assert message in str(outcome[0])


def test_a_model_that_does_not_load(make, tmp_path):
    with pytest.raises(StartupError, match="the model's own words"):
        serve(make("probe-do-raise"), copper(1), socket=tmp_path / "none")
    with pytest.raises(PropertyMissingError, match="has no forces"):
        serve(make("probe-world"), copper(1), socket=tmp_path / "none")


def test_a_server_that_dies_in_mid_step(make, tmp_path):
    path, atoms = tmp_path / "socket", copper(1)
    with ManualServer(path) as server:
        with background(serve, make("probe-null"), atoms, socket=path) as outcome:
            with server.accept() as wire:
                wire.sendall(step(atoms.positions)[:100])
    assert [(c.state, c.steps) for c in outcome[0]] == [("ended", 0)]


def test_a_server_may_take_its_time_between_steps_but_not_in_a_message(make, tmp_path, monkeypatch):
    monkeypatch.setattr("rootstock.protocol.frames.STALL", 0.3)
    path, atoms = tmp_path / "socket", copper(1)
    with ManualServer(path) as server:
        with background(serve, make("probe-null"), atoms, socket=path) as outcome:
            with server.accept() as wire:
                for _ in range(2):
                    time.sleep(0.8)
                    wire.sendall(step(atoms.positions))
                    answer(wire, 4)
                wire.sendall(step(atoms.positions)[:100])
                assert hung_up(wire)
    assert isinstance(outcome[0], ProtocolError) and "in the middle of a message" in str(outcome[0])


def test_no_server_in_time(make, tmp_path):
    with pytest.raises(CallTimeoutError, match="no server came up"):
        serve(make("probe-null"), copper(1), socket=tmp_path / "none", wait=0.2)
    with pytest.raises(ConfigurationError, match="count=0"):
        serve(make("probe-null"), copper(1), socket=tmp_path / "none", count=0)
    with pytest.raises(StructureError):
        serve(make("probe-null"), copper(1)[:0], socket=tmp_path / "none")
