"""A task process: a hub and a worker of its own, fed by the main process."""

from __future__ import annotations

import os
import pickle
import queue
import struct
import threading
import time
from contextlib import closing
from mmap import mmap
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Optional

from ...runtime.session import Session
from .calls import SessionCalls
from .hub import Finished, Hub
from .messages import (
    Done,
    Failed,
    Ready,
    Sent,
    Setup,
    Steps,
    Wanted,
    pickle_error,
    pickle_value,
)

if TYPE_CHECKING:
    from .inputs import Given

__all__ = ["MARK", "main"]

#: Index of the structure whose function runs, or -1: in memory that the main process reads when
#: this process has died.
MARK = struct.Struct("q")
#: Seconds between two messages about progress.
_PROGRESS = 0.2


def main(connection_fd: int, mark_fd: int) -> None:
    """Run tasks until there are no more.

    Parameters
    ----------
    connection_fd : int
        Descriptor of the socket to the main process.
    mark_fd : int
        Descriptor of the file that both processes map.
    """
    connection = Connection(connection_fd)
    mark = mmap(mark_fd, MARK.size)
    try:
        _run(connection, mark)
    except BaseException as error:  # noqa: BLE001  raised in the main process
        _send(connection, Failed(pickle_error(error)))


def _run(connection: Connection, mark: mmap) -> None:
    setup: Setup = pickle.loads(connection.recv_bytes())  # noqa: S301  from the main process
    function = pickle.loads(setup.function)  # noqa: S301
    calls = SessionCalls(Session(setup.spec), setup.batch_atoms, exact=setup.exact)
    hub = Hub(function, calls, setup.max_active, lambda index: MARK.pack_into(mark, 0, index))
    inbox = _Inbox(connection)
    _send(connection, Ready())
    with closing(hub):
        for finished in hub.run(inbox, _Progress(connection)):
            _send(connection, _done(finished))


def _done(finished: Finished) -> Done:
    value, error = b"", finished.error
    if error is None:
        try:
            value = pickle_value(finished.value, finished.index)
        except Exception as caught:  # noqa: BLE001  its task's error
            error = caught
    pickled = None if error is None else pickle_error(error)
    return Done(finished.index, value, pickled, finished.steps, finished.provenance)


def _send(connection: Connection, message: Any) -> None:
    connection.send_bytes(pickle.dumps(message))


class _Progress:
    """Tells the main process now and then how many force calls there were."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._due = 0.0

    def __call__(self, steps: int) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _PROGRESS
            _send(self._connection, Steps(steps))


class _Inbox:
    """Structures from the main process; asks for more when it is empty.

    A thread reads, so that the main process never waits for this one while it writes.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._queue: queue.SimpleQueue[Optional[Sent]] = queue.SimpleQueue()
        self._next: Optional[Given] = None
        self._missing = 0  # structures that were asked for and did not come yet
        self._is_complete = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                message = self._connection.recv_bytes()
            except (EOFError, OSError):
                os._exit(1)  # the main process is gone
            self._queue.put(pickle.loads(message))  # noqa: S301  from the main process

    def peek(self, active: int) -> Optional[Given]:
        """Return the next structure without taking it; None if there is none, or none yet."""
        if self._next is not None or self._is_complete:
            return self._next
        if not self._missing:
            # Batches are filled in a few rounds, and no process holds many that another could do.
            self._missing = 1 + active // 2
            _send(self._connection, Wanted(self._missing))
        try:
            sent = self._queue.get(block=active == 0)
        except queue.Empty:
            return None
        self._missing -= 1
        self._is_complete = sent is None
        self._next = None if sent is None else sent.given()
        return self._next

    def take(self) -> Given:
        """Take the structure that :meth:`peek` returned."""
        given, self._next = self._next, None
        if given is None:
            msg = "there is nothing to take"
            raise RuntimeError(msg)
        return given
