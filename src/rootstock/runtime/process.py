"""A worker process: its connection, log and exit status."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..errors import StartupError
from ..protocol.frames import STALL, Connection
from ..support.processes import ChildProcess
from .log import WorkerLog

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WorkerProcess", "describe_exit"]

_ENTRY = Path(__file__).resolve().parent.parent / "worker" / "__main__.py"


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
    umask : int
        Its umask; -1 keeps the caller's.

    Raises
    ------
    StartupError
        The process could not be started at all.
    """

    def __init__(
        self, python: Path, variables: Mapping[str, str], directory: Path, umask: int = -1
    ) -> None:
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            try:
                self.log = WorkerLog()
                ours.callback(self.log.close)
                ours_end, theirs_end = socket.socketpair()
                ours.callback(ours_end.close)
                theirs.callback(theirs_end.close)
                self._child = ChildProcess(
                    [
                        python,
                        "-I",
                        "-B",
                        "-u",
                        "-X",
                        "faulthandler",
                        _ENTRY,
                        str(theirs_end.fileno()),
                    ],
                    inherit=[theirs_end.fileno()],
                    pass_pipe=True,
                    stdout=self.log.fileno(),
                    stderr=subprocess.STDOUT,
                    env=dict(variables),
                    cwd=directory,
                    umask=umask,
                )
            except OSError as error:
                msg = f"the worker could not be started with {python}: {error}"
                raise StartupError(msg) from error
            ours.pop_all()  # owned by this object from now on
        self.connection = Connection(ours_end, STALL)
        self.connection.watch(self._child.pidfd, self._on_tick)

    @property
    def pid(self) -> int:
        """Process id; also the id of its process group."""
        return self._child.popen.pid

    def _on_tick(self) -> None:
        self.log.trim()
        if self._child.pidfd is None and self._child.popen.poll() is not None:
            self.connection.close()  # without a pidfd, this ends a wait

    def end(self, grace: float) -> Optional[int]:
        """Give the worker `grace` seconds, kill its group; return as :meth:`ChildProcess.end`."""
        return self._child.end(grace)

    def kill(self) -> None:
        """Kill the worker's group without waiting; safe in any thread."""
        self._child.kill()

    def release(self) -> None:
        """Close our descriptors, which ends the process if it still runs."""
        self.connection.close()
        self._child.release()
        self.log.close()


def describe_exit(status: Optional[int]) -> str:
    """Return how a process ended, as a part of a sentence.

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
        hint = " (often by the system or the batch system, because memory ran out)"
    return f"was killed by {name}{hint}"
