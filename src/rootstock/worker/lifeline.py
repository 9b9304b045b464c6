"""Die with the host, whatever the worker is doing.

The host holds the write end of a pipe and never writes. On Linux it has told the kernel to end this
process group once that end is closed (see ``rootstock.children``); what is left to do here is to
look if that happened before the kernel was told. Elsewhere a thread waits for it.
"""

import os
import select
import signal
import sys
import threading


def tie(descriptor: int) -> None:
    """Tie the life of this process group to the pipe's other end."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003  positional only
    if sys.platform != "linux":
        threading.Thread(target=_watch, args=(descriptor,), daemon=True).start()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    if poller.poll(0):
        _end()


def _watch(descriptor: int) -> None:
    os.read(descriptor, 1)
    _end()


def _end() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
