"""Both ends of the connection with a scripted model, in one process and without an environment."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest
from ase.build import bulk

from rootstock.errors import ModelError, PropertyMissingError, ProtocolError
from rootstock.protocol import messages as m
from rootstock.protocol.client import Client, run_client
from rootstock.protocol.frames import Connection
from rootstock.protocol.server import Server
from rootstock.structures import from_atoms
from rootstock.testing import ScriptedModel, connected


def structure(n: int = 1, **changes):
    atoms = bulk("Cu", cubic=True) * (n, 1, 1)
    atoms.info.update(changes)
    return from_atoms(atoms)


def test_a_step_is_answered_and_fixed_inputs_are_sent_once():
    model = ScriptedModel(lambda call: {"energy": float(call["positions"].sum())})
    first = structure()
    with connected(model) as server:
        for _ in range(3):
            results = server.evaluate_one(first, ["energy"])
            assert results == {"energy": float(first.positions.sum())}
        server.evaluate_one(structure(), ["energy"])  # an equal copy
        assert model.fixed_inputs_received == 1
        server.evaluate_one(structure(2), ["forces", "energy"])
        assert model.fixed_inputs_received == 2
    assert model.calls[0]["properties"] == ["energy"]
    assert model.calls[-1]["properties"] == ["energy", "forces"]
    assert len(model.calls[-1]["positions"]) == 8
    assert np.array_equal(model.calls[0]["cell"], first.cell)


def test_results_do_not_alias_the_next_call():
    model = ScriptedModel(lambda call: {"forces": np.full((4, 3), float(len(model.calls)))})
    with connected(model) as server:
        first = server.evaluate_one(structure(), ["forces"])["forces"]
        server.evaluate_one(structure(), ["forces"])
        assert (first == 1).all()
        first += 1  # the caller may change them


def test_results_may_change_their_layout():
    answers = [
        {"energy": 1.0},
        {"energy": 1.0, "forces": np.ones((4, 3))},
        {"note": "a"},
        {"note": "b"},
        {},
    ]
    model = ScriptedModel(lambda call: answers[len(model.calls) - 1])
    with connected(model) as server:
        for answer in answers:
            results = server.evaluate_one(structure(), ["energy"])
            assert results.keys() == answer.keys()
            assert results.get("note") == answer.get("note")


def test_an_error_arrives_with_its_traceback_and_the_client_continues():
    def answer(call):
        if call["info"].get("bad"):
            raise LookupError("its own words")
        return {"energy": 2.0}

    with connected(ScriptedModel(answer)) as server:
        with pytest.raises(ModelError, match="LookupError: its own words") as caught:
            server.evaluate_one(structure(bad=True), ["energy"])
        assert "in answer" in str(caught.value.__cause__)
        assert "protocol/client.py" not in str(caught.value.__cause__)
        assert server.synchronised
        assert server.evaluate_one(structure(), ["energy"]) == {"energy": 2.0}


def test_an_error_in_the_fixed_inputs_answers_every_step_until_they_change():
    class Picky(ScriptedModel):
        def set_fixed_inputs(self, arrays, info):
            super().set_fixed_inputs(arrays, info)
            if info.get("bad"):
                raise ValueError("picky")

    with connected(Picky({"energy": 0.0})) as server:
        bad = structure(bad=True)
        for _ in range(2):
            with pytest.raises(ModelError, match="picky"):
                server.evaluate_one(bad, ["energy"])
        assert server.evaluate_one(structure(), ["energy"]) == {"energy": 0.0}


def test_a_property_that_the_model_refuses_is_missing():
    from ase.calculators.calculator import PropertyNotImplementedError

    def answer(call):
        raise PropertyNotImplementedError("no stress")

    with connected(ScriptedModel(answer)) as server, pytest.raises(PropertyMissingError):
        server.evaluate_one(structure(), ["stress"])


def test_loading_that_fails_can_be_tried_again():
    server_socket, client_socket = socket.socketpair()
    client = Connection(client_socket)
    thread = threading.Thread(target=run_client, args=(client, ScriptedModel({"energy": 0.0})))
    thread.start()
    server = Server(Connection(server_socket))
    with pytest.raises(ModelError, match="no such weights"):
        server.load({"error": "no such weights"})
    assert server.load({"device": "cuda:1"})["device"] == "cuda:1"
    server.exit()
    thread.join(5)
    assert not thread.is_alive()
    client.close()
    server._connection.close()


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
def test_the_client_refuses_garbage(pair, sent):
    connection, peer = pair
    peer.sendall(sent)
    with pytest.raises(ProtocolError):
        Client(connection, ScriptedModel({})).run()


def test_status_is_answered_at_any_time(pair):
    connection, peer = pair
    thread = threading.Thread(target=run_client, args=(connection, ScriptedModel({"energy": 0.0})))
    thread.start()
    peer.sendall(m.STATUS[:5])
    peer.sendall(m.STATUS[5:] + m.STATUS)
    assert peer.recv(24, socket.MSG_WAITALL) == m.NEEDINIT * 2
    peer.sendall(m.EXIT)
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
def test_the_server_refuses_garbage(pair, answer):
    connection, peer = pair
    server = Server(connection)
    server._bits = {"energy": 1}
    peer.sendall(answer)
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(ProtocolError):
        server.evaluate_one(structure(), ["energy"], time.monotonic() + 5)
    assert not server.synchronised
    assert not server.reply_pending


class CountingSocket:
    """A socket that records the methods that make a system call."""

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
    server_calls, client_calls = [], []
    server_socket, client_socket = socket.socketpair()
    client = Connection(client_socket)
    client._sock = CountingSocket(client_socket, client_calls)
    thread = threading.Thread(target=run_client, args=(client, model))
    thread.start()
    server = Server(Connection(server_socket))
    server._connection._sock = CountingSocket(server_socket, server_calls)
    server.load({})
    large = structure(8)

    def reading() -> bool:
        """Wait until the client has begun the read that waits for the next step."""
        deadline = time.monotonic() + 5
        while client_calls[-1:] != ["recvmsg_into"] and time.monotonic() < deadline:
            time.sleep(0.01)
        return client_calls[-1:] == ["recvmsg_into"]

    server.evaluate_one(large, ["forces"])  # fixed inputs and layout are sent with the first step
    assert reading()
    del server_calls[:], client_calls[:]
    for _ in range(10):
        server.evaluate_one(large, ["forces"])
    assert server_calls == ["sendmsg", "recvmsg_into"] * 10
    assert reading()
    assert client_calls == ["sendmsg", "recvmsg_into"] * 10
    server.exit()
    thread.join(5)
    for connection in (client, server._connection):
        connection.close()
