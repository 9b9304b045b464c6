"""End with the main process, whatever the worker is doing.

The main process holds the write end of the parent-death pipe and never writes. On Linux it has told
the kernel to kill this process group once that end is closed (``rootstock.support.processes``);
this module checks if that happened before the kernel was told. On other systems a thread waits.
"""

import fcntl
import os
import select
import signal
import threading


def attach(descriptor: int) -> None:
    """End this process group when the pipe's other end is closed."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003  positional only
    if not _kernel_kills(descriptor):
        threading.Thread(target=_wait, args=(descriptor,), daemon=True).start()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    if poller.poll(0):
        _end()


def _kernel_kills(descriptor: int) -> bool:
    try:
        return fcntl.fcntl(descriptor, fcntl.F_GETSIG) == signal.SIGKILL
    except (AttributeError, OSError):
        return False


def _wait(descriptor: int) -> None:
    os.read(descriptor, 1)
    _end()


def _end() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
