"""Die with the host, whatever the worker is doing.

The host holds the write end of a pipe and never writes. On Linux it has told the kernel to end this
process group once that end is closed (see ``rootstock.children``); what is left to do here is to
look if that happened before the kernel was told. Where a kernel does no such thing a thread waits.
"""

import fcntl
import os
import select
import signal
import threading


def attach(descriptor: int) -> None:
    """Tie the life of this process group to the pipe's other end."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003  positional only
    if not _kernel_watches(descriptor):
        threading.Thread(target=_watch, args=(descriptor,), daemon=True).start()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    if poller.poll(0):
        _end()


def _kernel_watches(descriptor: int) -> bool:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETSIG) == signal.SIGKILL
    except (AttributeError, OSError):
        return False


def _watch(descriptor: int) -> None:
    os.read(descriptor, 1)
    _end()


def _end() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
