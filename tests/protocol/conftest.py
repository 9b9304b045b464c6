from __future__ import annotations

import socket

import pytest

from rootstock.protocol.frames import Connection


@pytest.fixture
def pair():
    """A connection and the plain socket at its other end."""
    local, peer = socket.socketpair()
    connection = Connection(local, stall=5)
    yield connection, peer
    connection.close()
    peer.close()
