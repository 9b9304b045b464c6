"""Addresses of i-PI sockets."""

from __future__ import annotations

import os
import socket
import time

import pytest

from rootstock import ConfigurationError, IPICalculator
from rootstock.errors import CallTimeoutError
from rootstock.ipi.addresses import TcpAddress, UnixAddress, accept, connect, listen, make_address
from tests.support.ports import free_port


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"unix": "water"}, "/tmp/ipi_water"),
        ({"socket": "/a/b.sock"}, "/a/b.sock"),
        ({"port": 31415}, TcpAddress("127.0.0.1", 31415)),
        ({"port": 31415, "host": "10.0.0.1"}, TcpAddress("10.0.0.1", 31415)),
    ],
)
def test_addresses(arguments, expected):
    address = make_address(**arguments)
    assert address == expected or str(address.path) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_invalid_addresses(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        make_address(**arguments)


def test_a_path_of_107_bytes_works(tmp_path):
    path = str(tmp_path / "x")
    path += "y" * (107 - len(os.fsencode(path)))
    address = make_address(socket=path)
    with listen(address) as listener:
        client = connect(address, time.monotonic() + 5)
        server = accept(listener, address, time.monotonic() + 5)
        client.close(), server.close()


def test_a_stale_socket_file_is_replaced_and_a_used_one_is_not(tmp_path):
    path = tmp_path / "socket"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    address = UnixAddress(path)
    with listen(address):
        assert oct(path.stat().st_mode & 0o777) == "0o700"
        with pytest.raises(ConfigurationError, match="another program listens"), listen(address):
            pass
        assert path.exists()
    assert not path.exists()


def test_a_file_at_the_path_is_kept(tmp_path):
    path = tmp_path / "socket"
    path.write_text("precious")
    with pytest.raises(ConfigurationError, match="is not a socket"), listen(UnixAddress(path)):
        pass
    assert path.read_text() == "precious"
    nowhere = UnixAddress(tmp_path / "no" / "such" / "folder")
    with pytest.raises(ConfigurationError, match="can't create"), listen(nowhere):
        pass


def test_a_port_in_use(probe_root):
    port = free_port()
    address = TcpAddress("127.0.0.1", port)
    with listen(address):
        with pytest.raises(ConfigurationError, match="another program listens there"):
            IPICalculator(port=port)


def test_a_deadline_or_a_stop_ends_the_wait(tmp_path):
    address = UnixAddress(tmp_path / "socket")
    with pytest.raises(CallTimeoutError, match="no server came up"):
        connect(address, time.monotonic() + 0.15)
    assert connect(address, None, lambda: True) is None
    with pytest.raises(ConfigurationError, match="no host"):
        connect(TcpAddress("no-such-host.invalid", 1), time.monotonic() + 1)
