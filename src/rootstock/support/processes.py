"""Child processes that end on request or with this process, with all processes they started.

A child leads a session, and so a process group, of its own: Ctrl-C reaches only this process, and
one signal reaches the whole group. The child inherits the read end of a pipe, the *parent-death
pipe*, to which this process never writes. When this process ends for any reason, the kernel closes
the write end and, on Linux, sends SIGKILL to the group (``F_SETSIG``): no thread or handler of the
child has to run for that. ``PR_SET_PDEATHSIG`` is not enough: it fires when the *thread* that
started the child ends, and reaches one process. Daemons, which start sessions of their own, leave
the group.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import warnings
import weakref
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["ChildProcess"]

#: Seconds for the kernel to end a killed process. One in an uninterruptible read takes longer.
_KILL_WAIT = 5.0


class ChildProcess:
    """A running program and its process group; a context manager that ends it.

    Parameters
    ----------
    command : sequence of str or Path
        Program and arguments.
    inherit : sequence of int
        Descriptors that it gets under the same numbers.
    pass_pipe : bool
        Append the number of the parent-death pipe's descriptor to the arguments.
    **options
        Passed to :class:`subprocess.Popen`; stdin is empty by default.

    Raises
    ------
    OSError
        It could not be started.

    Attributes
    ----------
    popen : subprocess.Popen
        The program's process. To end it call :meth:`end`, not its own methods.
    pidfd : int or None
        Readable when the program has ended; None where the system lacks pidfds.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        inherit: Sequence[int] = (),
        pass_pipe: bool = False,
        **options: Any,
    ) -> None:
        read_end, write_end = os.pipe()
        # A file object: garbage collection closes it, which ends the child at the latest.
        self._pipe = os.fdopen(write_end, "wb", 0)
        self.pidfd: Optional[int] = None
        try:
            self.popen: subprocess.Popen[Any] = subprocess.Popen(  # noqa: S603  callers' programs
                [*map(str, command), *([str(read_end)] if pass_pipe else [])],
                pass_fds=(*inherit, read_end),
                start_new_session=True,
                **{"stdin": subprocess.DEVNULL, **options},
            )
            _attach(read_end, self.popen.pid)
        except BaseException:
            self._pipe.close()
            if hasattr(self, "popen"):
                self.end()
            raise
        finally:
            os.close(read_end)
        self.pidfd = _open_pidfd(self.popen.pid)
        _living.add(self)

    def __enter__(self) -> Self:
        """Return the child itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End it and close the descriptors."""
        self.end()
        self.release()

    def wait(self, seconds: float) -> bool:
        """Wait for the program's end without reaping it; return whether it has ended."""
        if self.pidfd is not None:
            poller = select.poll()
            poller.register(self.pidfd, select.POLLIN)
            return bool(poller.poll(seconds * 1000))
        try:
            self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, grace: float = 0.0, ask: Optional[signal.Signals] = None) -> Optional[int]:
        """Let the program end, kill its group, and return the exit status.

        Parameters
        ----------
        grace : float
            Seconds that it gets to end by itself.
        ask : signal, optional
            Sent to the group first.

        Returns
        -------
        int or None
            The exit status, negative for a signal; None if the kernel can't end it now, or if the
            status is unknown because this process ignores SIGCHLD.
        """
        # As long as it was not waited for, its id can't belong to another process.
        if self.popen.returncode is None:
            if ask is not None:
                self._signal(ask)
            if grace > 0:
                self.wait(grace)
            self._signal(signal.SIGKILL)
            self._collect()
        ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN  # Popen makes a 0 of that
        return None if ignored else self.popen.returncode

    def kill(self) -> None:
        """Kill the group without waiting for its end; safe in any thread."""
        if self.popen.returncode is None:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            pass  # it has ended, and so has its group
        except PermissionError:  # macOS, for a group of zombies
            self.popen.send_signal(number)

    def _collect(self) -> None:
        try:
            self.popen.wait(_KILL_WAIT)
        except subprocess.TimeoutExpired:
            warnings.warn(
                f"process {self.popen.pid} can't be killed (it hangs in the kernel, maybe in a "
                "read from a file system that does not respond); it is left alone",
                RuntimeWarning,  # Python shows no ResourceWarning unless it is told to
                stacklevel=2,
            )

    def release(self) -> None:
        """Close our descriptors, which ends the group if it still runs."""
        self._pipe.close()
        if self.pidfd is not None:
            os.close(self.pidfd)
            self.pidfd = None

    def detach(self) -> None:
        """In a forked process: close the copies of the descriptors and leave the child alone."""
        self.popen.returncode = 0  # keeps Popen from waiting for it
        self.release()


def _attach(pipe: int, group: int) -> None:
    """Have the kernel kill `group` when the other end of `pipe` is closed.

    The setting belongs to the open pipe, not to the descriptor, so the child's copy keeps it. If
    this process is killed before this call, a worker notices when it checks the pipe at its start;
    other programs run to their end.
    """
    if sys.platform != "linux":
        return  # the worker's own thread waits instead
    with contextlib.suppress(OSError):  # not allowed in some sandboxes: likewise
        fcntl.fcntl(pipe, fcntl.F_SETOWN, -group)
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(pipe, fcntl.F_GETFL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, flags | os.O_ASYNC)


def _open_pidfd(pid: int) -> Optional[int]:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # a kernel before 5.3, or a sandbox that forbids it
        return None


_living: weakref.WeakSet[ChildProcess] = weakref.WeakSet()


def _detach_all() -> None:
    for child in list(_living):
        child.detach()


os.register_at_fork(after_in_child=_detach_all)
