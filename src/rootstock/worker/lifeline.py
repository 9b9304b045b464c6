"""Die with the host, whatever the worker is doing.

The host holds the write end of a pipe and never writes. When the host is gone, by whatever death,
the kernel closes that end. On Linux the kernel then sends SIGKILL to this process group by itself
(``F_SETSIG``): no thread has to run, no GIL has to be free, and the helper processes of a model
library go too. ``PR_SET_PDEATHSIG`` would not do: it fires when the *thread* that started the
worker ends.
"""

import fcntl
import os
import select
import signal
import sys
import threading


def tie(descriptor: int) -> None:
    """Tie the life of this process group to the pipe's other end."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003  positional only
    if sys.platform == "linux":
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    else:
        threading.Thread(target=_watch, args=(descriptor,), daemon=True).start()
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    if poller.poll(0):  # the host died before the kernel was told
        _end()


def _watch(descriptor: int) -> None:
    os.read(descriptor, 1)
    _end()


def _end() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
