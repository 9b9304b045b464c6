"""Several task processes, so that the functions' own time overlaps: the main process's side."""

from __future__ import annotations

import contextlib
import pickle
import socket
import sys
import tempfile
import warnings
from collections import Counter, deque
from mmap import mmap
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Optional

import cloudpickle

from ...errors import CallTimeoutError, ConfigurationError, StartupError, WorkerDiedError
from ...runtime.process import describe_exit
from ...runtime.variables import THREAD_COUNTS
from ...support.processes import ChildProcess
from .hub import Finished
from .messages import Done, Failed, Ready, Sent, Setup, Steps, Wanted, unpickle_error
from .process import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from .function import TaskFunction
    from .inputs import Given, Source

__all__ = ["TaskProcesses", "pickle_function"]

#: What a task process runs: it imports from where this process does.
#: ASE multiplies small matrices, for which the threads of several processes only get in each
#: other's way. Libraries read the number when they are loaded; workers have numbers of their own.
_START = (
    "import os, sys; fds = sys.argv[1:3]; sys.path[:] = sys.argv[3:]; "
    f"new = [name for name in {THREAD_COUNTS!r} if name not in os.environ]; "
    "os.environ.update(dict.fromkeys(new, '1')); import numpy, scipy.linalg; "
    "[os.environ.pop(name) for name in new]; "
    f"from {__package__}.process import main; main(*map(int, fds))"
)
#: Processes that a task may end before it is given up; starts that may fail in a row.
_MOST_DEATHS = _MOST_STARTS = 2
#: Seconds for a process to end its worker and itself.
_GRACE = 10.0


def pickle_function(function: TaskFunction) -> bytes:
    """Return a function's pickle; those of ``__main__`` and lambdas are sent with their code.

    Raises
    ------
    ConfigurationError
        It can't be pickled.
    """
    try:
        return bytes(cloudpickle.dumps(function))
    except Exception as error:
        msg = (
            f"the function {function.function!r} can't be sent to other processes: "
            f"{type(error).__name__}: {error}. Create what can't be pickled (open files, locks, "
            "calculators) inside the function, or use processes=1"
        )
        raise ConfigurationError(msg) from error


class TaskProcesses:
    """Runs a function for many structures in several processes.

    A process that dies is replaced. Its structures start again in another process; one whose
    function ran when two processes died is given up.

    Parameters
    ----------
    setups : sequence of Setup
        One for each process.
    total : int, optional
        Number of structures, where it is known: then each process gets its share at most.

    Attributes
    ----------
    steps : int
        Force calls so far.
    """

    def __init__(self, setups: Sequence[Setup], total: Optional[int]) -> None:
        self._setups = setups
        self._processes: list[_Process] = []
        self._unread = total
        self._again: deque[Given] = deque()
        self._refused: list[Finished] = []
        self._deaths: Counter[int] = Counter()
        self._failed_starts = 0
        self._steps_before = 0

    @property
    def steps(self) -> int:
        """Force calls so far."""
        return self._steps_before + sum(process.steps for process in self._processes)

    def run(
        self, source: Source, on_round: Callable[[int], object] = lambda _: None
    ) -> Generator[Finished, None, None]:
        """Yield the outcomes of all tasks as they end; closing the iterator ends the processes.

        Parameters
        ----------
        source : Source
            The structures.
        on_round : callable
            Called with the number of force calls now and then.

        Raises
        ------
        StartupError
            No process, or no worker, starts.
        BaseException
            What a function raised that is not an ``Exception``, such as ``SystemExit``.
        """
        if source.peek(0) is None:
            return
        try:
            for setup in self._setups:
                self._processes.append(_Process(setup))
            while True:
                self._hand_out(source)
                if self._refused:
                    refused, self._refused = self._refused, []
                    yield from refused
                elif self._is_busy() or source.peek(0) is not None:
                    for process in self._ready():
                        yield from self._events(process)
                    on_round(self.steps)
                else:
                    break
            self._finish()
        finally:
            self.close()

    def close(self) -> None:
        """Kill the processes that are left; more than once does nothing."""
        processes, self._processes = self._processes, []
        for process in processes:
            process.child.kill()
        for process in processes:
            process.end()

    def _is_busy(self) -> bool:
        return bool(self._again) or any(process.given for process in self._processes)

    def _finish(self) -> None:
        """Let the processes end by themselves: they record what they learned."""
        for process in self._processes:
            with contextlib.suppress(OSError):  # it has ended already
                process.send(None)
        for process in self._processes:
            process.child.end(_GRACE)

    # --- structures -----------------------------------------------------------------------------

    def _hand_out(self, source: Source) -> None:
        """Send structures to processes that have room, the least busy first."""
        while (process := self._least_busy()) is not None:
            given = self._next(source)
            if given is None:
                return
            try:
                sent = Sent.of(given)
            except Exception as error:  # noqa: BLE001  its task's error
                self._refused.append(Finished(given.index, error=error))
                return
            process.give(given, sent)

    def _next(self, source: Source) -> Optional[Given]:
        if self._again:
            return self._again.popleft()
        if source.peek(1) is None:
            return None
        if self._unread is not None:
            self._unread -= 1
        return source.take()

    def _least_busy(self) -> Optional[_Process]:
        share: Optional[int] = None
        if self._unread is not None:
            given = sum(len(process.given) for process in self._processes)
            share = -(-(self._unread + len(self._again) + given) // len(self._processes))
        free = [
            process
            for process in self._processes
            if process.room and (share is None or len(process.given) < share)
        ]
        return min(free, key=lambda process: len(process.given), default=None)

    # --- what processes send --------------------------------------------------------------------

    def _ready(self) -> list[_Process]:
        """Wait; return the processes that sent something or ended."""
        owners: dict[Any, _Process] = {}
        for process in self._processes:
            owners[process.connection] = process
            if process.child.pidfd is not None:
                owners[process.child.pidfd] = process
        return list(dict.fromkeys(owners[ready] for ready in wait(list(owners))))

    def _events(self, process: _Process) -> Iterator[Finished]:
        try:
            while process.connection.poll(0):
                message = pickle.loads(process.connection.recv_bytes())  # noqa: S301  our own process
                if isinstance(message, Done):
                    process.note_done(message)
                    yield _finished(message)
                elif isinstance(message, Failed):
                    self._lose(process, unpickle_error(message.error))
                    return
                else:
                    process.note(message)
        except (EOFError, OSError):
            yield from self._replace(process)
        else:
            if process.child.wait(0):
                yield from self._replace(process)

    def _remove(self, process: _Process) -> Optional[int]:
        self._processes.remove(process)
        self._steps_before += process.steps
        return process.end()

    def _lose(self, process: _Process, error: BaseException) -> None:
        """Raise the error that ended a process, unless others of its device can do its work."""
        device = process.setup.spec.device
        self._remove(process)
        others = [p for p in self._processes if p.setup.spec.device == device]
        if not isinstance(error, (StartupError, CallTimeoutError)) or not others:
            raise error
        self._again.extend(process.given.values())
        first_line = str(error).partition("\n")[0]
        warnings.warn(
            f"a worker on {device} is lost ({first_line}); {len(self._processes)} go on",
            RuntimeWarning,
            stacklevel=2,
        )

    def _replace(self, process: _Process) -> Iterator[Finished]:
        """Start another process for one that died; its structures start again."""
        marked = process.marked()
        how = describe_exit(self._remove(process))
        self._failed_starts = 0 if process.is_ready else self._failed_starts + 1
        if self._failed_starts >= _MOST_STARTS:
            msg = f"a process for tasks {how} before it could read the function"
            raise StartupError(msg)
        for index, given in process.given.items():
            self._deaths[index] += marked in (index, -1)
            if self._deaths[index] < _MOST_DEATHS:
                self._again.append(given)
            else:
                yield Finished(index, error=_death(index, self._deaths[index], how))
        self._processes.append(_Process(process.setup))


class _Process:
    """A task process, and what it was given.

    Attributes
    ----------
    given : dict
        Structures without an outcome, by index.
    room : int
        How many more it asked for.
    steps : int
        Force calls so far.
    """

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.given: dict[int, Given] = {}
        self.room = self.steps = self._steps_done = 0
        self.is_ready = False
        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as file, theirs:
            file.write(MARK.pack(-1))
            file.flush()
            self._mark = mmap(file.fileno(), MARK.size)
            self.connection = Connection(ours.detach())
            inherit = [theirs.fileno(), file.fileno()]
            command = [sys.executable, "-c", _START, *map(str, inherit), *sys.path]
            try:
                self.child = ChildProcess(command, inherit=inherit)
            except BaseException as error:
                self._close()
                if isinstance(error, OSError):
                    msg = f"a process for tasks could not be started: {error}"
                    raise StartupError(msg) from error
                raise
        with contextlib.suppress(OSError):  # its end is noticed where it is waited for
            self.send(setup)

    def send(self, message: Any) -> None:
        """Send a message."""
        self.connection.send_bytes(pickle.dumps(message))

    def give(self, given: Given, sent: Sent) -> None:
        """Send a structure."""
        self.given[given.index] = given
        self.room -= 1
        with contextlib.suppress(OSError):  # likewise
            self.send(sent)

    def note(self, message: Any) -> None:
        """Take note of a message about the process itself."""
        if isinstance(message, Wanted):
            self.room += message.number
        elif isinstance(message, Steps):
            self.steps = max(self.steps, message.number)
        elif isinstance(message, Ready):
            self.is_ready = True

    def note_done(self, done: Done) -> None:
        """Take note of an outcome; it may come before the message about its last steps."""
        del self.given[done.index]
        self._steps_done += done.steps
        self.steps = max(self.steps, self._steps_done)

    def marked(self) -> int:
        """Return the index of the structure whose function ran last, -1 if none did."""
        return int(MARK.unpack_from(self._mark)[0])

    def end(self) -> Optional[int]:
        """Kill the process if it runs; return its exit status."""
        status = self.child.end()
        self.child.release()
        self._close()
        return status

    def _close(self) -> None:
        self.connection.close()
        if not self._mark.closed:
            self._mark.close()


def _finished(done: Done) -> Finished:
    """Return an outcome; a value or an error that can't be read here becomes another error."""
    value, error = None, None
    try:
        if done.error is None:
            value = pickle.loads(done.value)  # noqa: S301  from our own process
        else:
            raised = unpickle_error(done.error)
            error = raised if isinstance(raised, Exception) else None
    except Exception as caught:  # noqa: BLE001  whatever a user's class does
        error = caught
    return Finished(done.index, value, error, done.steps, done.provenance)


def _death(index: int, deaths: int, how: str) -> WorkerDiedError:
    msg = (
        f"{deaths} processes ended while they ran the function for structure {index}; the last one "
        f"{how}. Run the function for this structure in a script of its own to see why"
    )
    return WorkerDiedError(msg)
