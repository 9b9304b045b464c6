"""Both ends of the connection with a scripted model, without any process or environment."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest
from ase.build import bulk

from rootstock.errors import ModelError, PropertyMissingError, ProtocolError
from rootstock.protocol import messages as m
from rootstock.protocol.client import Client, serve
from rootstock.protocol.frames import Connection
from rootstock.protocol.server import Server
from rootstock.structures import from_atoms
from rootstock.testing import ScriptedModel, connected


def structure(n: int = 1, **changes):
    atoms = bulk("Cu", cubic=True) * (n, 1, 1)
    atoms.info.update(changes)
    return from_atoms(atoms)


def test_a_step_is_answered_and_topology_is_sent_once():
    model = ScriptedModel(lambda call: {"energy": float(call["positions"].sum())})
    first = structure()
    with connected(model) as host:
        for _ in range(3):
            found = host.evaluate(first, ["energy"])
            assert found == {"energy": float(first.positions.sum())}
        host.evaluate(structure(), ["energy"])  # another object that holds the same: a copy's
        assert model.fixed_inputs_received == 1
        host.evaluate(structure(2), ["forces", "energy"])
        assert model.fixed_inputs_received == 2
    assert model.calls[0]["properties"] == ["energy"]
    assert model.calls[-1]["properties"] == ["energy", "forces"]
    assert len(model.calls[-1]["positions"]) == 8
    assert np.array_equal(model.calls[0]["cell"], first.cell)


def test_results_do_not_alias_the_next_call():
    model = ScriptedModel(lambda call: {"forces": np.full((4, 3), float(len(model.calls)))})
    with connected(model) as host:
        first = host.evaluate(structure(), ["forces"])["forces"]
        host.evaluate(structure(), ["forces"])
        assert (first == 1).all()
        first += 1  # and are the caller's to change


def test_results_may_change_their_layout():
    answers = [
        {"energy": 1.0},
        {"energy": 1.0, "forces": np.ones((4, 3))},
        {"note": "a"},
        {"note": "b"},
        {},
    ]
    model = ScriptedModel(lambda call: answers[len(model.calls) - 1])
    with connected(model) as host:
        for answer in answers:
            found = host.evaluate(structure(), ["energy"])
            assert found.keys() == answer.keys()
            assert found.get("note") == answer.get("note")


def test_an_error_arrives_with_its_traceback_and_the_guest_lives_on():
    def answer(call):
        if call["info"].get("bad"):
            raise LookupError("its own words")
        return {"energy": 2.0}

    with connected(ScriptedModel(answer)) as host:
        with pytest.raises(ModelError, match="LookupError: its own words") as caught:
            host.evaluate(structure(bad=True), ["energy"])
        assert "in answer" in str(caught.value.__cause__)
        assert "protocol/client.py" not in str(caught.value.__cause__)
        assert host.synchronised
        assert host.evaluate(structure(), ["energy"]) == {"energy": 2.0}


def test_an_error_in_the_topology_answers_every_step_until_it_changes():
    class Picky(ScriptedModel):
        def set_fixed_inputs(self, arrays, info):
            super().set_fixed_inputs(arrays, info)
            if info.get("bad"):
                raise ValueError("picky")

    with connected(Picky({"energy": 0.0})) as host:
        bad = structure(bad=True)
        for _ in range(2):
            with pytest.raises(ModelError, match="picky"):
                host.evaluate(bad, ["energy"])
        assert host.evaluate(structure(), ["energy"]) == {"energy": 0.0}


def test_a_property_that_the_model_refuses_is_missing():
    from ase.calculators.calculator import PropertyNotImplementedError

    def answer(call):
        raise PropertyNotImplementedError("no stress")

    with connected(ScriptedModel(answer)) as host, pytest.raises(PropertyMissingError):
        host.evaluate(structure(), ["stress"])


def test_loading_that_fails_can_be_tried_again():
    ours, theirs = socket.socketpair()
    guest = Connection(theirs)
    thread = threading.Thread(target=serve, args=(guest, ScriptedModel({"energy": 0.0})))
    thread.start()
    host = Server(Connection(ours))
    with pytest.raises(ModelError, match="no such weights"):
        host.load({"error": "no such weights"})
    assert host.load({"device": "cuda:1"})["device"] == "cuda:1"
    host.exit()
    thread.join(5)
    assert not thread.is_alive()
    guest.close()
    host._connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"NONSENSE    ",
        m.INIT + bytes(4) + m.INTEGER.pack(2) + b"{}",
        m.INIT + bytes(4) + m.INTEGER.pack(5) + b"\xff\xff\xff\xff\xff",
        m.INIT + bytes(4) + m.INTEGER.pack(-1),
        m.INIT + bytes(4) + m.json_message(b"", {"rootstock": 99}),
        m.INIT + bytes(4) + m.json_message(b"", {"rootstock": 1, "layout": []}),
        m.POSDATA + bytes(72) + m.INTEGER.pack(3) + m.GETFORCE + bytes(8),
    ],
)
def test_a_guest_refuses_garbage(pair, sent):
    connection, theirs = pair
    theirs.sendall(sent)
    with pytest.raises(ProtocolError):
        Client(connection, ScriptedModel({})).run()


def test_status_is_answered_at_any_time(pair):
    connection, theirs = pair
    thread = threading.Thread(target=serve, args=(connection, ScriptedModel({"energy": 0.0})))
    thread.start()
    theirs.sendall(m.STATUS[:5])
    theirs.sendall(m.STATUS[5:] + m.STATUS)
    assert theirs.recv(24, socket.MSG_WAITALL) == m.NEEDINIT * 2
    theirs.sendall(m.EXIT)
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "answer",
    [
        b"NONSENSE    ",
        m.LAYOUT + m.json_message(b"", []),
        m.LAYOUT + m.json_message(b"", {"layout": 5, "values": {}}),
        m.LAYOUT + m.INTEGER.pack(2**30),
        m.FAILED + m.INTEGER.pack(-5),
        b"",
        b"FORCE",
    ],
)
def test_a_host_refuses_garbage(pair, answer):
    connection, theirs = pair
    host = Server(connection)
    host._bits = {"energy": 1}
    theirs.sendall(answer)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(ProtocolError):
        host.evaluate(structure(), ["energy"], time.monotonic() + 5)
    assert not host.synchronised
    assert not host.reply_pending


class CountingSocket:
    """A socket that counts what costs a system call."""

    def __init__(self, sock, counts):
        self._sock, self._counts = sock, counts

    def __getattr__(self, name):
        method = getattr(self._sock, name)
        if name not in ("sendmsg", "recvmsg_into"):
            return method

        def counted(*arguments):
            self._counts.append(name)
            return method(*arguments)

        return counted


def test_a_step_is_one_write_and_one_read_on_each_side():
    model = ScriptedModel(lambda call: {"energy": 0.0, "forces": call["positions"]})
    ours, theirs = [], []
    left, right = socket.socketpair()
    guest = Connection(right)
    guest._sock = CountingSocket(right, theirs)
    thread = threading.Thread(target=serve, args=(guest, model))
    thread.start()
    host = Server(Connection(left))
    host._connection._sock = CountingSocket(left, ours)
    host.load({})
    one = structure(8)

    def reading() -> bool:
        """Wait until the guest has begun the read that waits for the next step."""
        deadline = time.monotonic() + 5
        while theirs[-1:] != ["recvmsg_into"] and time.monotonic() < deadline:
            time.sleep(0.01)
        return theirs[-1:] == ["recvmsg_into"]

    host.evaluate(one, ["forces"])  # topology and layout travel with the first step
    assert reading()
    del ours[:], theirs[:]
    for _ in range(10):
        host.evaluate(one, ["forces"])
    assert ours == ["sendmsg", "recvmsg_into"] * 10
    assert reading()
    assert theirs == ["sendmsg", "recvmsg_into"] * 10
    host.exit()
    thread.join(5)
    for connection in (guest, host._connection):
        connection.close()
