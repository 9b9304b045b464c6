"""Reading and writing exact numbers of bytes, with deadlines."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rootstock.errors import CallTimeoutError, PeerClosedError, ProtocolError
from rootstock.protocol import messages as m
from rootstock.protocol.frames import Connection, header


def test_header_is_padded_and_bounded():
    assert header("STATUS") == b"STATUS      "
    with pytest.raises(ProtocolError):
        header("MUCHTOOLONGAWORD")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(1, 5000), max_size=8), st.lists(st.integers(1, 4000), max_size=8))
def test_reads_are_exact_however_the_stream_is_cut(reads, cuts):
    local, peer = socket.socketpair()
    connection = Connection(local)
    data = np.random.default_rng(0).bytes(sum(reads))
    position = 0
    for cut in [*cuts, len(data)]:
        peer.sendall(data[position : position + cut])
        position += cut
    received = b"".join(bytes(connection.read(n)) for n in reads)
    assert received == data
    connection.close()
    peer.close()


def test_a_record_split_in_its_header_is_read(pair):
    connection, peer = pair
    body = bytearray(8)
    threading.Timer(0.05, lambda: peer.sendall(b"READY       12345678")).start()
    peer.sendall(b"FORCE")
    peer.sendall(b"READY  ")
    buffers = [bytearray(12), body]
    threading.Timer(0.02, lambda: peer.sendall(b"abcdefgh")).start()
    assert connection.read_record(m.FORCEREADY, buffers) == m.FORCEREADY
    assert body == b"abcdefgh"
    assert connection.read_header() == m.READY
    assert connection.read(8) == b"12345678"


def test_bytes_that_were_read_ahead_need_no_wait(pair):
    connection, peer = pair
    peer.sendall(m.FAILED + b"0123456789")
    assert connection.read_record(m.FORCEREADY, [bytearray(12), bytearray(10)]) == m.FAILED
    connection.wait(time.monotonic())
    assert connection.read(10) == b"0123456789"


def test_read_ahead_is_read_again_in_order(pair):
    connection, peer = pair
    peer.sendall(m.FAILED + b"0123" + m.READY + b"tail")
    connection.read_record(m.FORCEREADY, [bytearray(12), bytearray(7)])
    assert connection.read(4) == b"0123"
    tail = bytearray(4)
    assert connection.read_record(m.READY, [bytearray(12), tail]) == m.READY
    assert tail == b"tail"


@pytest.mark.parametrize("sent", [b"", b"STAT", b"STATUS      ", b"STATUS      \0\0"])
def test_end_of_file_is_an_error_not_a_loop(pair, sent):
    connection, peer = pair
    peer.sendall(sent)
    peer.close()
    with pytest.raises(PeerClosedError):
        connection.read(20)


def test_writing_to_a_closed_peer_is_an_error(pair):
    connection, peer = pair
    peer.close()
    with pytest.raises(PeerClosedError):
        connection.send([bytes(10**7)])


def test_large_gathered_writes_arrive_whole(pair):
    connection, peer = pair
    parts = [bytes([i % 256]) * 5000 for i in range(3000)]  # more than a single call can send
    received = bytearray()

    def read():
        while len(received) < 15_000_000:
            received.extend(peer.recv(2**16))

    thread = threading.Thread(target=read)
    thread.start()
    connection.send(parts)
    thread.join(20)
    assert bytes(received) == b"".join(parts)


def test_a_deadline_ends_the_wait(pair):
    connection, _ = pair
    with pytest.raises(CallTimeoutError):
        connection.wait(time.monotonic() + 0.05)


def test_a_peer_that_stops_in_mid_message_is_an_error():
    local, peer = socket.socketpair()
    connection = Connection(local, stall=0.1)
    peer.sendall(b"half")
    with pytest.raises(ProtocolError, match="stopped writing"):
        connection.read(8)
    with pytest.raises(ProtocolError, match="stopped reading"):
        connection.send([bytes(50_000_000)])
    connection.close()
    peer.close()
