"""One worker process: start it, watch it, tell how it died, end it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..errors import StartupError
from ..protocol.frames import Connection
from .log import WorkerLog

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WorkerProcess", "describe_exit"]

_ENTRY = Path(__file__).resolve().parent.parent / "worker" / "__main__.py"
#: Seconds that a message may stop in its middle before the peer counts as stuck.
_STALL = 60.0
#: Seconds for the kernel to end a killed process. One in an uninterruptible read takes longer.
_KILL_WAIT = 5.0


class WorkerProcess:
    """A running worker and the descriptors that belong to it.

    Parameters
    ----------
    python : Path
        Interpreter of the model's environment.
    variables : mapping
        The worker's whole environment.
    directory : Path
        Its working directory.

    Raises
    ------
    StartupError
        The process could not be started at all.
    """

    def __init__(self, python: Path, variables: Mapping[str, str], directory: Path) -> None:
        command = [python, "-I", "-B", "-u", "-X", "faulthandler", _ENTRY]
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            try:
                self.log = WorkerLog()
                ours.callback(self.log.close)
                near, far = socket.socketpair()
                ours.callback(near.close)
                theirs.callback(far.close)
                lifeline, kept = os.pipe()
                # An object: whatever happens to us, the garbage collector ends the worker.
                self._lifeline = ours.enter_context(os.fdopen(kept, "wb", 0))
                theirs.callback(os.close, lifeline)
                self._popen = subprocess.Popen(  # noqa: S603  the interpreter of an environment
                    [*map(str, command), str(far.fileno()), str(lifeline)],
                    stdin=subprocess.DEVNULL,
                    stdout=self.log.fileno(),
                    stderr=subprocess.STDOUT,
                    pass_fds=(far.fileno(), lifeline),
                    env=dict(variables),
                    cwd=directory,
                    start_new_session=True,  # Ctrl-C reaches the host alone
                )
            except OSError as error:
                msg = f"the worker could not be started with {python}: {error}"
                raise StartupError(msg) from error
            ours.pop_all()  # they are the worker's from now on
        self._pidfd = _open_pidfd(self._popen.pid)
        self.connection = Connection(near, _STALL)
        self.connection.watch(self._pidfd, self._on_tick)

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self._popen.pid

    def _on_tick(self) -> None:
        self.log.trim()
        if self._pidfd is None and self._popen.poll() is not None:
            self.connection.close()  # without a pidfd this is how a wait learns of the death

    def end(self, grace: float) -> Optional[int]:
        """Give the worker `grace` seconds to end, then kill its process group.

        Returns
        -------
        int or None
            The exit status, negative for a signal; None if even the kernel can't end it now.
        """
        if grace > 0:
            self._wait(grace)
        # The process is not reaped yet, so its id can't belong to anybody else.
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended, and so has its group
        except PermissionError:  # macOS, for a group of zombies
            self._popen.kill()
        try:
            self._popen.wait(_KILL_WAIT)
        except subprocess.TimeoutExpired:
            warnings.warn(
                f"worker {self._popen.pid} can't be killed (it hangs in the kernel, in a read from "
                "a file system that does not answer, say); it is left alone",
                ResourceWarning,
                stacklevel=2,
            )
        return self._popen.returncode

    def _wait(self, seconds: float) -> None:
        """Wait for the end without reaping."""
        if self._pidfd is None:
            try:
                self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                return
        else:
            poller = select.poll()
            poller.register(self._pidfd, select.POLLIN)
            poller.poll(seconds * 1000)

    def release(self) -> None:
        """Close our descriptors; the process, if it still lives, ends by that."""
        self.connection.close()
        self._lifeline.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        self.log.close()

    def disown(self) -> None:
        """In a forked child: close the copies and never touch the parent's process."""
        self._popen.returncode = 0  # keeps Popen from waiting for a process that is no child
        self.release()


def _open_pidfd(pid: int) -> Optional[int]:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:  # a kernel before 5.3, or a sandbox that forbids it
        return None


def describe_exit(status: Optional[int]) -> str:
    """Say in words how a process ended.

    Parameters
    ----------
    status : int or None
        As :attr:`subprocess.Popen.returncode`.
    """
    if status is None:
        return "stopped answering"
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = ""
    if -status == signal.SIGKILL:
        hint = " (often the system or the batch system, for want of memory)"
    return f"was killed by {name}{hint}"
