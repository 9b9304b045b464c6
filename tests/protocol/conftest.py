from __future__ import annotations

import socket

import pytest

from rootstock.protocol.frames import Connection


@pytest.fixture
def pair():
    """A connection and the plain socket at its other end."""
    ours, theirs = socket.socketpair()
    connection = Connection(ours, stall=5)
    yield connection, theirs
    connection.close()
    theirs.close()
