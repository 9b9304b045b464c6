"""Addresses of i-PI peers: a Unix socket or a TCP port. Connect, listen, check the peer's user.

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
        Absolute path of the socket.
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
        Host name or IP address.
    port : int
        Port number, 1 to 65535.
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
        Address of the server.
    deadline : float, optional
        Absolute, as :func:`time.monotonic`; None tries for ever.
    stopped : callable
        Called between attempts; ends them when it returns true.

    Returns
    -------
    socket or None
        The connected socket; None if `stopped` ended the attempts.

    Raises
    ------
    CallTimeoutError
        No server came up in time.
    ConfigurationError
        The address can't be used, or another user owns the server.
    """
    while not stopped():
        try:
            return _checked_peer(_connected(address), address)
        except socket.gaierror as error:
            host = getattr(address, "host", "")
            msg = f"there is no host {host!r} ({error.strerror}): check its name"
            raise ConfigurationError(msg) from error
        except OSError as error:
            if error.errno not in _NOT_YET:
                reason = error.strerror or error
                msg = f"can't connect to {address}: {reason}. Check the server's address"
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
    """Listen; only this user can connect to a Unix socket, whose file is removed at the end.

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
            if address.path.stat().st_ino == ours:  # not a newer one of another program
                address.path.unlink()


def _bound_tcp(address: TcpAddress) -> socket.socket:
    try:
        return socket.create_server((address.host, address.port), backlog=16)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "another program listens there" if taken else error.strerror or str(error)
        msg = f"can't listen on {address}: {reason}. Choose another port."
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
        msg = f"can't create {address}: {error.strerror}. Choose another path."
        raise ConfigurationError(msg) from error
    return sock


def _remove_stale(address: UnixAddress) -> None:
    """Remove a socket file without a listener, left by a killed program."""
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
        with contextlib.suppress(OSError):  # another user's: bind() reports it
            address.path.unlink()
        return
    except OSError:
        return  # bind() reports the problem
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
        No client connected in time.
    ConfigurationError
        The client belongs to another user.
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
    """Return `sock`; raise if a Unix socket's peer is neither this user nor root."""
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
