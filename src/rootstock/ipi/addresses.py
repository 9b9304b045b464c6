"""Addresses of i-PI peers: a Unix socket or a TCP port. Connects, listens, checks the peer's user.

``/tmp/ipi_NAME`` is where i-PI, ASE and LAMMPS put the Unix socket of a given name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

from ..errors import CallTimeoutError, ConfigurationError
from ..support.files import umask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Address", "TcpAddress", "UnixAddress", "accept", "connect", "listen", "make_address"]

#: Longest path of a Unix socket in bytes (Linux: 108 with the closing NUL).
_LONGEST_PATH = 107
_LOOPBACK = "127.0.0.1"
_PORTS = 2**16
#: Errors of a server that is not up yet.
_NOT_YET = {errno.ENOENT, errno.ECONNREFUSED, errno.EAGAIN, errno.ECONNRESET}
#: Seconds between two attempts, and between two checks for a request to stop.
_PAUSE = 0.1


@dataclass(frozen=True)
class UnixAddress:
    """A Unix socket.

    Attributes
    ----------
    path : Path
        Absolute.
    """

    path: Path

    def __str__(self) -> str:
        return f"the Unix socket {self.path}"


@dataclass(frozen=True)
class TcpAddress:
    """A TCP port.

    Attributes
    ----------
    host : str
        Name or number.
    port : int
        From 1 on.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Address = Union[UnixAddress, TcpAddress]


def make_address(
    socket: Optional[Union[str, os.PathLike[str]]] = None,
    unix: Optional[str] = None,
    host: Optional[str] = None,
    port: Optional[int] = None,
) -> Address:
    """Return the address for these arguments.

    Parameters
    ----------
    socket : path-like, optional
        Path of a Unix socket.
    unix : str, optional
        Name of a Unix socket: ``/tmp/ipi_NAME``.
    host : str, optional
        With `port`; the loopback address by default.
    port : int, optional
        TCP port.

    Raises
    ------
    ConfigurationError
        None or several are given, or the address is invalid.
    """
    if sum(given is not None for given in (socket, unix, port)) != 1:
        msg = "give one of socket (a path), unix (a name: /tmp/ipi_NAME) and port (with host)"
        raise ConfigurationError(msg)
    if port is not None:
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < _PORTS:
            msg = f"port={port!r} must be an integer from 1 to {_PORTS - 1}"
            raise ConfigurationError(msg)
        return TcpAddress(host or _LOOPBACK, port)
    if host is not None:
        msg = f"host={host!r} goes with port, not with a Unix socket"
        raise ConfigurationError(msg)
    if unix is not None and (not unix or "/" in unix):
        msg = f"unix={unix!r} must be a name, it becomes /tmp/ipi_NAME; for a path use socket="
        raise ConfigurationError(msg)
    named = os.fspath(socket) if socket is not None else f"/tmp/ipi_{unix}"  # noqa: S108  convention
    path = os.path.abspath(os.path.expanduser(named))
    if len(os.fsencode(path)) > _LONGEST_PATH:
        msg = (
            f"{path} is {len(os.fsencode(path))} bytes long; a Unix socket's path has at most "
            f"{_LONGEST_PATH}: choose a shorter one"
        )
        raise ConfigurationError(msg)
    return UnixAddress(Path(path))


def connect(
    address: Address,
    deadline: Optional[float] = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Optional[socket.socket]:
    """Connect, trying again while there is no server.

    Parameters
    ----------
    address : Address
        Of the server.
    deadline : float, optional
        Absolute, as :func:`time.monotonic`; None tries for ever.
    stopped : callable
        Asked between attempts; once true the answer is None.

    Raises
    ------
    CallTimeoutError
        No server came up in time.
    ConfigurationError
        The address can't be connected to at all, or the socket is another user's.
    """
    while not stopped():
        try:
            return _checked_peer(_connected(address), address)
        except socket.gaierror as error:
            msg = f"there is no host {getattr(address, 'host', '')!r}: {error.strerror}"
            raise ConfigurationError(msg) from error
        except OSError as error:
            if error.errno not in _NOT_YET:
                msg = f"{address} can't be connected to: {error.strerror or error}"
                raise ConfigurationError(msg) from error
        if deadline is not None and time.monotonic() >= deadline:
            msg = f"no server came up at {address} in time; start it, or give the right address"
            raise CallTimeoutError(msg)
        time.sleep(_PAUSE)
    return None


def _connected(address: Address) -> socket.socket:
    if isinstance(address, TcpAddress):
        return socket.create_connection((address.host, address.port), timeout=10)
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(str(address.path))
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def listen(address: Address) -> Iterator[socket.socket]:
    """Listen; a Unix socket is the user's alone and its file is removed at the end.

    Raises
    ------
    ConfigurationError
        Another program listens there, or the address is not available.
    """
    if isinstance(address, TcpAddress):
        with _bound_tcp(address) as sock:
            yield sock
        return
    sock = _bound_unix(address)
    ours = address.path.stat().st_ino
    try:
        yield sock
    finally:
        sock.close()
        with contextlib.suppress(FileNotFoundError):
            if address.path.stat().st_ino == ours:  # not one that took its place
                address.path.unlink()


def _bound_tcp(address: TcpAddress) -> socket.socket:
    try:
        return socket.create_server((address.host, address.port), backlog=16)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = "another program listens there" if taken else error.strerror or str(error)
        msg = f"{address} can't be listened on: {why}. Choose another port."
        raise ConfigurationError(msg) from error


def _bound_unix(address: UnixAddress) -> socket.socket:
    _remove_stale(address)
    sock = socket.socket(socket.AF_UNIX)
    try:
        with umask(0o077):  # no other user may connect, not even until a chmod
            sock.bind(str(address.path))
        sock.listen(16)
    except OSError as error:
        sock.close()
        msg = f"{address} can't be made: {error.strerror}. Choose another path."
        raise ConfigurationError(msg) from error
    return sock


def _remove_stale(address: UnixAddress) -> None:
    """Remove a socket file without a listener, as a killed program leaves it."""
    try:
        kind = address.path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(kind):
        msg = f"{address.path} exists and is not a socket: choose another path"
        raise ConfigurationError(msg)
    try:
        _connected(address).close()
    except ConnectionRefusedError:
        with contextlib.suppress(OSError):  # another user's: binding says so
            address.path.unlink()
        return
    except OSError:
        return  # binding says what is wrong
    msg = f"another program listens on {address}: end it, or choose another path"
    raise ConfigurationError(msg)


def accept(
    listener: socket.socket,
    address: Address,
    deadline: Optional[float] = None,
    alive: Callable[[], None] = lambda: None,
) -> socket.socket:
    """Wait for a client.

    Parameters
    ----------
    listener, address : socket.socket, Address
        From :func:`listen`.
    deadline : float, optional
        Absolute, as :func:`time.monotonic`; None waits for ever.
    alive : callable
        Called while waiting; raises to end the wait.

    Raises
    ------
    CallTimeoutError
        None came in time.
    ConfigurationError
        It is another user's.
    """
    listener.settimeout(_PAUSE)
    while True:
        try:
            return _checked_peer(listener.accept()[0], address)
        except TimeoutError:
            alive()
        if deadline is not None and time.monotonic() >= deadline:
            msg = f"no client connected to {address} in time"
            raise CallTimeoutError(msg)


def _checked_peer(sock: socket.socket, address: Address) -> socket.socket:
    """Refuse a Unix socket's peer that is neither this user nor root."""
    if isinstance(address, UnixAddress) and sys.platform == "linux":
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _, user, _ = struct.unpack("3i", credentials)
        if user not in (0, os.getuid()) and os.getuid() != 0:
            sock.close()
            msg = (
                f"the program at {address} belongs to another user (id {user}): choose another path"
            )
            raise ConfigurationError(msg)
    return sock
