"""The wire: frames, values, messages, host and guest. No process, no environment."""

from __future__ import annotations

import math
import socket
import threading
import time

import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rootstock import (
    CallTimeoutError,
    ModelError,
    PeerClosedError,
    PropertyMissingError,
    ProtocolError,
)
from rootstock.atoms import take
from rootstock.protocol import messages as m
from rootstock.protocol import units
from rootstock.protocol.frames import Connection, header
from rootstock.protocol.guest import Guest, serve
from rootstock.protocol.host import Host
from rootstock.protocol.values import UntransferableError, decode, dumps, encode, encode_info, loads
from rootstock.testing import ScriptedModel, connected


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    connection = Connection(ours, stall=5)
    yield connection, theirs
    connection.close()
    theirs.close()


# --- frames -------------------------------------------------------------------------------------


def test_header_is_padded_and_bounded():
    assert header("STATUS") == b"STATUS      "
    with pytest.raises(ProtocolError):
        header("MUCHTOOLONGAWORD")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 5000), max_size=8), st.lists(st.integers(1, 4000), max_size=8))
def test_reads_are_exact_however_the_stream_is_cut(reads, cuts):
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    data = np.random.default_rng(0).bytes(sum(reads))
    position = 0
    for cut in [*cuts, len(data)]:
        theirs.sendall(data[position : position + cut])
        position += cut
    got = b"".join(bytes(connection.read(n)) for n in reads)
    assert got == data
    connection.close()
    theirs.close()


def test_a_record_split_in_its_header_is_read(pair):
    connection, theirs = pair
    body = bytearray(8)
    threading.Timer(0.05, lambda: theirs.sendall(b"READY       12345678")).start()
    theirs.sendall(b"FORCE")
    theirs.sendall(b"READY  ")
    buffers = [bytearray(12), body]
    threading.Timer(0.02, lambda: theirs.sendall(b"abcdefgh")).start()
    assert connection.read_record(m.FORCEREADY, buffers) == m.FORCEREADY
    assert body == b"abcdefgh"
    assert connection.read_header() == m.READY
    assert connection.read(8) == b"12345678"


def test_what_was_read_ahead_needs_no_waiting(pair):
    connection, theirs = pair
    theirs.sendall(m.FAILED + b"0123456789")
    assert connection.read_record(m.FORCEREADY, [bytearray(12), bytearray(10)]) == m.FAILED
    connection.wait(time.monotonic())
    assert connection.read(10) == b"0123456789"


def test_read_ahead_is_read_again_in_order(pair):
    connection, theirs = pair
    theirs.sendall(m.FAILED + b"0123" + m.READY + b"tail")
    connection.read_record(m.FORCEREADY, [bytearray(12), bytearray(7)])
    assert connection.read(4) == b"0123"
    tail = bytearray(4)
    assert connection.read_record(m.READY, [bytearray(12), tail]) == m.READY
    assert tail == b"tail"


@pytest.mark.parametrize("sent", [b"", b"STAT", b"STATUS      ", b"STATUS      \0\0"])
def test_end_of_file_is_an_error_not_a_loop(pair, sent):
    connection, theirs = pair
    theirs.sendall(sent)
    theirs.close()
    with pytest.raises(PeerClosedError):
        connection.read(20)


def test_writing_to_a_closed_peer_is_an_error(pair):
    connection, theirs = pair
    theirs.close()
    with pytest.raises(PeerClosedError):
        connection.send([bytes(10**7)])


def test_large_gathered_writes_arrive_whole(pair):
    connection, theirs = pair
    parts = [bytes([i % 256]) * 5000 for i in range(3000)]  # more than one call takes
    got = bytearray()

    def read():
        while len(got) < 15_000_000:
            got.extend(theirs.recv(2**16))

    thread = threading.Thread(target=read)
    thread.start()
    connection.send(parts)
    thread.join(20)
    assert bytes(got) == b"".join(parts)


def test_a_deadline_ends_the_wait(pair):
    connection, _ = pair
    with pytest.raises(CallTimeoutError):
        connection.wait(time.monotonic() + 0.05)


def test_a_peer_that_stops_in_mid_message_is_an_error():
    ours, theirs = socket.socketpair()
    connection = Connection(ours, stall=0.1)
    theirs.sendall(b"half")
    with pytest.raises(ProtocolError, match="stopped writing"):
        connection.read(8)
    with pytest.raises(ProtocolError, match="stopped reading"):
        connection.send([bytes(50_000_000)])
    connection.close()
    theirs.close()


# --- values -------------------------------------------------------------------------------------

numbers = st.one_of(st.booleans(), st.integers(), st.floats(), st.complex_numbers())
arrays = hnp.arrays(
    st.one_of(
        hnp.integer_dtypes(),
        hnp.floating_dtypes(),
        hnp.complex_number_dtypes(),
        hnp.boolean_dtypes(),
    ),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
plain = st.one_of(
    st.none(),
    numbers,
    st.text(),
    st.binary(),
    arrays,
    arrays.filter(lambda a: a.size).map(lambda a: a.ravel()[0]),
)
nested = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(
            st.one_of(st.text(max_size=8), st.integers(), st.just("#array")), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


def identical(a, b) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(k in b and identical(v, b[k]) for k, v in a.items())
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    if isinstance(a, complex):
        return identical(a.real, b.real) and identical(a.imag, b.imag)
    return a == b


@settings(deadline=None)
@given(nested)
def test_values_come_back_bit_for_bit(value):
    assert identical(decode(loads(dumps(encode(value)), "x")), value)


def test_what_does_not_cross_is_refused_or_left_out():
    with pytest.raises(UntransferableError):
        encode(object())
    with pytest.raises(UntransferableError):
        encode(np.array([object()]))
    deep: list = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(UntransferableError):
        encode(deep)
    assert decode(loads(encode_info({"a": 1, "b": object()}), "x")) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        b'{"#array": ["|O", [1], "AAAAAAAAAAA="]}',
        b'{"#array": [1]}',
        b'{"#array": ["<f8", [2], "AAAA"]}',
        b'{"#complex": [1, 2, 3]}',
        b'{"#bytes": "%"}',
        b'{"#dict": 5}',
        b'{"#array": ["01f8,f8", [0], ""]}',  # NumPy would evaluate a part of that
        b'{"#array": ["<f8", null, ""]}',
        b'{"#array": [["<f8"], [0], ""]}',
    ],
)
def test_malformed_values_are_protocol_errors(text):
    with pytest.raises(ProtocolError):
        decode(loads(text, "x"))


def test_values_that_are_nested_too_deeply():
    data: object = 1
    for _ in range(100_000):
        data = [data]
    with pytest.raises(ProtocolError, match="too deeply"):
        decode(data)


# --- messages -----------------------------------------------------------------------------------


def test_layout_round_trip_keeps_bits_and_types():
    values = {
        "f": np.arange(6.0).reshape(2, 3)[:, ::2],
        "f4": np.float32(0.1),
        "zero_d": np.array(5, np.int32),
        "empty": np.zeros((0, 3)),
        "flags": np.array([True, False, True]),
        "z": np.array([1 + 2j]),
        "energy": -0.1,
        "n": 3,
        "big": 2**70,
        "text": "ü",
        "lost": object(),
    }
    entries, payload, others = m.describe(values)
    layout = m.Layout.parse(loads(dumps(entries), "x"))
    raw = b"".join(bytes(p) for p in payload)
    assert len(raw) == layout.nbytes
    found = layout.views(np.frombuffer(raw, np.uint8).copy()) | decode(others)
    assert list(others) == ["big", "text"]
    assert all(
        identical(found[k], np.asarray(v, order="C") if isinstance(v, np.ndarray) else v)
        for k, v in values.items()
        if k != "lost"
    )
    assert "lost" not in found


@pytest.mark.parametrize(
    "layout",
    [
        [["x", "<f8", [2**40], "array"]],
        [["x", "<f8", [-1], "array"]],
        [["x", "|O", [1], "array"]],
        [["x", "nonsense", [1], "array"]],
        [["x", "<f8"]],
        [["x", "<f8", [1], "arr!y"]],
        [["x", "<f8", [1], "scalar"]],
        [["x", "<c16", [], "float"]],
        [["x", "<f8", [0, 2**62, 2**62], "array"]],
        [["x", "<f8", [1] * 70, "array"]],
        [["x", "<f8", [float("inf")], "array"]],
        [["x", "<M8[s]", [1], "array"]],
        [[1, "<f8", [1], "array"]],
        7,
        None,
    ],
)
def test_bad_layouts_are_refused_before_memory_is_taken(layout):
    with pytest.raises(ProtocolError):
        m.Layout.parse(layout)


@pytest.mark.parametrize("length", [-1, 2**31 - 1, m.MAX_JSON + 1])
def test_bad_lengths_are_refused_before_memory_is_taken(pair, length):
    connection, theirs = pair
    theirs.sendall(m.INTEGER.pack(length))
    with pytest.raises(ProtocolError, match="announced"):
        m.read_json(connection, "a thing")


# --- units --------------------------------------------------------------------------------------


def test_virial_and_stress_agree_with_their_definition():
    stress = np.array([1.0, 2, 3, 4, 5, 6])
    virial = units.stress_to_virial(stress, 10.0)
    assert virial[1, 2] == pytest.approx(-10 * 4 / units.HARTREE)
    assert np.allclose(units.virial_to_stress(virial, 10.0), stress)
    full = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    assert np.array_equal(units.stress_to_virial(full, 10.0), virial)


def test_cells_are_columns_on_the_wire():
    cell = np.arange(9.0).reshape(3, 3)
    assert units.cell_to_wire(cell)[0, 1] == cell[1, 0] / units.BOHR
    assert np.allclose(units.wire_to_cell(units.cell_to_wire(cell)), cell)


# --- host and guest -----------------------------------------------------------------------------


def structure(n: int = 1, **changes):
    atoms = bulk("Cu", cubic=True) * (n, 1, 1)
    atoms.info.update(changes)
    return take(atoms)


def test_a_step_is_answered_and_topology_is_sent_once():
    model = ScriptedModel(lambda call: {"energy": float(call["positions"].sum())})
    first = structure()
    with connected(model) as host:
        for _ in range(3):
            found = host.compute(first, ["energy"])
            assert found == {"energy": float(first.positions.sum())}
        host.compute(structure(), ["energy"])  # another object that holds the same: a copy's
        assert model.topologies == 1
        host.compute(structure(2), ["forces", "energy"])
        assert model.topologies == 2
    assert model.calls[0]["properties"] == ["energy"]
    assert model.calls[-1]["properties"] == ["energy", "forces"]
    assert len(model.calls[-1]["positions"]) == 8
    assert np.array_equal(model.calls[0]["cell"], first.cell)


def test_results_do_not_alias_the_next_call():
    model = ScriptedModel(lambda call: {"forces": np.full((4, 3), float(len(model.calls)))})
    with connected(model) as host:
        first = host.compute(structure(), ["forces"])["forces"]
        host.compute(structure(), ["forces"])
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
            found = host.compute(structure(), ["energy"])
            assert found.keys() == answer.keys()
            assert found.get("note") == answer.get("note")


def test_an_error_arrives_with_its_traceback_and_the_guest_lives_on():
    def answer(call):
        if call["info"].get("bad"):
            raise LookupError("its own words")
        return {"energy": 2.0}

    with connected(ScriptedModel(answer)) as host:
        with pytest.raises(ModelError, match="LookupError: its own words") as caught:
            host.compute(structure(bad=True), ["energy"])
        assert "in answer" in str(caught.value.__cause__)
        assert "guest.py" not in str(caught.value.__cause__)
        assert host.in_step
        assert host.compute(structure(), ["energy"]) == {"energy": 2.0}


def test_an_error_in_the_topology_answers_every_step_until_it_changes():
    class Picky(ScriptedModel):
        def set_topology(self, arrays, info):
            super().set_topology(arrays, info)
            if info.get("bad"):
                raise ValueError("picky")

    with connected(Picky({"energy": 0.0})) as host:
        bad = structure(bad=True)
        for _ in range(2):
            with pytest.raises(ModelError, match="picky"):
                host.compute(bad, ["energy"])
        assert host.compute(structure(), ["energy"]) == {"energy": 0.0}


def test_a_property_that_the_model_refuses_is_missing():
    from ase.calculators.calculator import PropertyNotImplementedError

    def answer(call):
        raise PropertyNotImplementedError("no stress")

    with connected(ScriptedModel(answer)) as host, pytest.raises(PropertyMissingError):
        host.compute(structure(), ["stress"])


def test_loading_that_fails_can_be_tried_again():
    ours, theirs = socket.socketpair()
    guest = Connection(theirs)
    thread = threading.Thread(target=serve, args=(guest, ScriptedModel({"energy": 0.0})))
    thread.start()
    host = Host(Connection(ours))
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
        Guest(connection, ScriptedModel({})).run()


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
    host = Host(connection)
    host._bits = {"energy": 1}
    theirs.sendall(answer)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(ProtocolError):
        host.compute(structure(), ["energy"], time.monotonic() + 5)
    assert not host.in_step
    assert not host.owed


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
    host = Host(Connection(left))
    host._connection._sock = CountingSocket(left, ours)
    host.load({})
    one = structure(8)

    def reading() -> bool:
        """Wait until the guest has begun the read that waits for the next step."""
        deadline = time.monotonic() + 5
        while theirs[-1:] != ["recvmsg_into"] and time.monotonic() < deadline:
            time.sleep(0.01)
        return theirs[-1:] == ["recvmsg_into"]

    host.compute(one, ["forces"])  # topology and layout travel with the first step
    assert reading()
    del ours[:], theirs[:]
    for _ in range(10):
        host.compute(one, ["forces"])
    assert ours == ["sendmsg", "recvmsg_into"] * 10
    assert reading()
    assert theirs == ["sendmsg", "recvmsg_into"] * 10
    host.exit()
    thread.join(5)
    for connection in (guest, host._connection):
        connection.close()
