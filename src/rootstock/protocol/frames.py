"""Exact reads and gathered writes over a stream socket; all messages pass through here.

A header is 12 bytes of ASCII, padded with spaces. A stream has no message borders: one ``recv``
may return half a header or three messages. So every read here is exact, and an end of file in the
middle is :class:`~rootstock.errors.PeerClosedError`, never "try again".
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Optional, Union

from ..errors import CallTimeoutError, PeerClosedError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["HEADER", "MAX_JSON", "MAX_PAYLOAD", "STALL", "Buffers", "Connection", "header"]

#: Length of a header in bytes.
HEADER = 12
#: Largest JSON document that is accepted, in bytes. Checked before memory is taken.
MAX_JSON = 64 * 2**20
#: Largest binary payload that is accepted, in bytes. Checked before memory is taken.
MAX_PAYLOAD = 2**31 - 1
#: Seconds that a peer may stop in the middle of a message before it counts as stuck.
STALL = 60.0
#: Size of the socket buffers in bytes: one step of 100,000 atoms. The kernel may give less.
_SOCKET_BUFFER = 4 * 2**20
#: Buffers in one system call, at most (Linux: IOV_MAX = 1024).
_MAX_BUFFERS = 1000
#: Seconds between two ticks, over all waits. A model that prints all the time fills memory fast.
_TICK = 0.5

Buffers = list[Union[bytes, bytearray, memoryview]]


def header(word: str) -> bytes:
    """Return `word` as a header: ASCII, padded with spaces to 12 bytes."""
    raw = word.encode("ascii")
    if len(raw) > HEADER:
        msg = f"a header has at most {HEADER} bytes: {word!r}"
        raise ProtocolError(msg)
    return raw.ljust(HEADER)


class Connection:
    """A connected stream socket with exact reads and gathered writes.

    Parameters
    ----------
    sock : socket.socket
        Connected; it is put into blocking mode and belongs to the connection from now on.
    stall : float, optional
        Seconds without progress before a read or write fails: a peer stopped in the middle of a
        message. It does not limit :meth:`wait`.

    Notes
    -----
    Deadlines are absolute times of :func:`time.monotonic`; None waits for ever. The socket stays
    in blocking mode, because Python polls before each call on a socket with a timeout: waiting is
    done once, in :meth:`wait`, and `stall` is the kernel's own ``SO_RCVTIMEO``, which needs
    no further call.
    """

    def __init__(self, sock: socket.socket, stall: Optional[float] = None) -> None:
        sock.setblocking(True)  # noqa: FBT003  positional only
        if stall is not None:
            limit = struct.pack("@ll", int(stall), int(stall % 1 * 1e6))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BUFFER)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._pending = memoryview(b"")  # read ahead, but not yet asked for
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self._tick: Optional[Callable[[], object]] = None
        self._tick_due = 0.0
        #: When a reply has to be complete; see :meth:`wait`. Checked only if a message arrives in
        #: parts.
        self.deadline: Optional[float] = None

    def close(self) -> None:
        """Close the socket; more than once does nothing."""
        self._sock.close()

    def watch(self, process: Optional[int], tick: Callable[[], object]) -> None:
        """Let :meth:`wait` also watch the peer's process.

        Parameters
        ----------
        process : int, optional
            A descriptor that becomes readable when the process ends (Linux: a pidfd). An end of
            file is not enough, because helper processes may hold the socket open.
        tick : callable
            Called about twice a second during waits, also over many short ones; it may raise to
            end a wait.
        """
        if process is not None:
            self._poller.register(process, select.POLLIN)
        self._tick = tick

    def wait(self, deadline: Optional[float] = None) -> None:
        """Wait until there is something to read, an end of file included.

        Raises
        ------
        CallTimeoutError
            At the deadline.
        PeerClosedError
            The watched process has ended and has left nothing to read.
        """
        if self._pending:
            return
        while True:
            now = time.monotonic()
            if self._tick is not None and now >= self._tick_due:
                self._tick_due = now + _TICK
                self._tick()
            left = None if deadline is None else max(0.0, deadline - now)
            events = self._poller.poll(1000 * (_TICK if left is None else min(left, _TICK)))
            if any(fd == self._sock.fileno() for fd, _ in events):
                return
            if events:
                msg = "the peer's process ended"
                raise PeerClosedError(msg)
            if left is not None and left <= _TICK:
                msg = "the peer did not answer in time"
                raise CallTimeoutError(msg)

    def send(self, buffers: Buffers) -> None:
        """Write all `buffers`, in one system call where the kernel takes them.

        Raises
        ------
        PeerClosedError
            The peer is gone.
        ProtocolError
            It made no progress for `stall` seconds.
        CallTimeoutError
            The peer did not read all of it before :attr:`deadline`.
        """
        total = sum(map(len, buffers))
        while (sent := self._send_some(buffers)) < total:
            buffers = _after(buffers, sent)
            total -= sent

    def _send_some(self, buffers: Buffers) -> int:
        """Write once, not waiting beyond the deadline (the kernel would wait for `stall`)."""
        flags = 0 if self.deadline is None else socket.MSG_DONTWAIT
        while True:
            try:
                return self._sock.sendmsg(buffers[:_MAX_BUFFERS], [], flags)
            except BlockingIOError as error:
                if self.deadline is None:
                    msg = "the peer stopped reading in the middle of a message"
                    raise ProtocolError(msg) from error
            except OSError as error:
                msg = "the peer closed the connection while it was written to"
                raise PeerClosedError(msg) from error
            self._wait_for_room(self.deadline)

    def _wait_for_room(self, deadline: float) -> None:
        """Wait until the kernel takes more; the peer's death is seen by writing again."""
        left = deadline - time.monotonic()
        poller = select.poll()
        poller.register(self._sock, select.POLLOUT)
        if left <= 0 or not poller.poll(1000 * left):
            msg = "the peer did not read in time"
            raise CallTimeoutError(msg)

    def read_into(self, buffers: Buffers) -> None:
        """Fill all `buffers` (writable, flat bytes) exactly.

        Raises
        ------
        PeerClosedError
            The stream ended before they were full.
        ProtocolError
            It made no progress for `stall` seconds.
        """
        self._fill(buffers, self._take(buffers))

    def read(self, nbytes: int) -> bytearray:
        """Return the next `nbytes` bytes; the caller has checked `nbytes` against a limit."""
        data = bytearray(nbytes)
        self.read_into([data])
        return data

    def read_ahead(self, nbytes: int) -> None:
        """Receive `nbytes` bytes in as few calls as possible; the next reads return them."""
        data = self.read(nbytes)
        self._pending = memoryview(data + self._pending) if self._pending else memoryview(data)

    def read_header(self) -> bytes:
        """Return the next 12 bytes."""
        return bytes(self.read(HEADER))

    def read_record(self, expected: bytes, buffers: Buffers) -> bytes:
        """Read the next message in as few system calls as possible, given the expected one.

        Parameters
        ----------
        expected : bytes
            The header that `buffers` are made for.
        buffers : list of writable buffers
            The whole message; its header is the start of the first one (at least 12 bytes).

        Returns
        -------
        bytes
            The received header. If it is `expected`, all `buffers` are full. If not, only the
            header was consumed, and the rest is kept for the next read.
        """
        got = self._take(buffers)
        if not got:
            got = self._receive(buffers)  # the caller has waited for it
        while got < HEADER:
            got += self._receive_more(buffers, got)
        word = bytes(buffers[0][:HEADER])
        if word == expected:
            self._fill(buffers, got)
        elif got > HEADER:
            ahead = b"".join(bytes(b) for b in buffers)[HEADER:got]
            self._pending = memoryview(ahead + bytes(self._pending))
        return word

    def _take(self, buffers: Buffers) -> int:
        """Move bytes that were read ahead into `buffers`; return their number."""
        moved = 0
        for buffer in buffers:
            if not self._pending:
                break
            part = self._pending[: len(buffer)]
            memoryview(buffer)[: len(part)] = part
            self._pending = self._pending[len(part) :]
            moved += len(part)
        return moved

    def _fill(self, buffers: Buffers, got: int) -> None:
        total = sum(map(len, buffers))
        while got < total:
            got += self._receive_more(buffers, got)

    def _receive_more(self, buffers: Buffers, got: int) -> int:
        """Read once into the rest of `buffers`, waiting until the deadline."""
        if self.deadline is not None:
            self.wait(self.deadline)
        return self._receive(_after(buffers, got))

    def _receive(self, buffers: Buffers) -> int:
        """Read once into `buffers`; at least one byte, or the peer is gone."""
        try:
            got = self._sock.recvmsg_into(buffers[:_MAX_BUFFERS])[0]
        except BlockingIOError as error:
            msg = "the peer stopped writing in the middle of a message"
            raise ProtocolError(msg) from error
        except OSError as error:
            msg = "the connection broke while it was read from"
            raise PeerClosedError(msg) from error
        if got == 0:
            msg = "the peer closed the connection"
            raise PeerClosedError(msg)
        return got


def _after(buffers: Buffers, done: int) -> Buffers:
    """Return the rest of `buffers` after the first `done` bytes."""
    if not done:
        return buffers
    for index, buffer in enumerate(buffers):
        if done < len(buffer):
            return [memoryview(buffer)[done:], *buffers[index + 1 :]]
        done -= len(buffer)
    return []
