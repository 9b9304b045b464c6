"""The error tree.

::

    RootstockError
    ├── ConfigurationError (ValueError)      an argument, variable or config file is invalid
    │   └── UnknownNameError                 no model, environment, cluster or group has that name
    │       └── UnknownArgumentError (TypeError)  no argument of the calculator has that name
    ├── EnvironmentFileError                 an environment file is missing, unreadable or broken
    ├── BuildError                           uv could not lock or build; carries uv's output
    ├── RootError (OSError)                  the root can't be written, or its disk is full
    ├── OutputError (OSError)                a file that the user named can't be written or read
    ├── WeightsError (OSError)               weights that were fetched are missing or changed
    ├── StructureError (InputError)          the Atoms can't be computed: none, NaN, wrong shape
    ├── StartupError (CalculatorSetupError)  the worker did not start
    │   └── SetupError                       setup() raised, or returned no calculator
    ├── CalculationError (CalculationFailed) a call did not return results
    │   ├── ModelError                       the model raised; the worker keeps running
    │   │   ├── OutOfMemoryError (MemoryError)   it ran out of memory
    │   │   └── BatchError                   ``evaluate_batch()`` failed for a batch as a whole
    │   ├── WorkerDiedError                  the worker died; the next call starts another
    │   └── CallTimeoutError (TimeoutError)  no answer within ``timeout``; the worker was stopped
    ├── DisagreementError                    the members of a committee disagree too much
    ├── PropertyMissingError                 the model does not have that property
    │   (PropertyNotImplementedError)
    ├── ExecutorError                        the executor given to ``evaluate`` failed as a whole
    └── ProtocolError                        the peer does not speak the protocol
        └── PeerClosedError (EOFError)       the peer closed the connection

    RemoteTracebackError (Exception)         the worker's traceback, as the cause of another error
    InsecureWarning (UserWarning)            other users could change the code that a worker runs

Names in brackets are further base classes, ASE's or built-in, so that code written for ASE catches
these errors too. Every message says what happened, where, and what to do next. Pickled errors keep
their attributes and their cause, because executors send them between processes.

This file is loaded by the worker too, in any Python from 3.9 on.
"""

from __future__ import annotations

import traceback
from typing import Any, Optional

from ase.calculators.calculator import (
    CalculationFailed,
    CalculatorSetupError,
    InputError,
    PropertyNotImplementedError,
)

__all__ = [
    "BatchError",
    "BuildError",
    "CalculationError",
    "CallTimeoutError",
    "ConfigurationError",
    "DisagreementError",
    "EnvironmentFileError",
    "ExecutorError",
    "InsecureWarning",
    "ModelError",
    "OutOfMemoryError",
    "OutputError",
    "PeerClosedError",
    "PropertyMissingError",
    "ProtocolError",
    "RemoteTracebackError",
    "RootError",
    "RootstockError",
    "SetupError",
    "StartupError",
    "StructureError",
    "UnknownArgumentError",
    "UnknownNameError",
    "WeightsError",
    "WorkerDiedError",
]


class RootstockError(Exception):
    """Base of every error that Rootstock raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the cause too, which exceptions leave out: it may be the model's traceback."""
        reduced = tuple(super().__reduce__())
        if self.__cause__ is None:
            return reduced
        attributes = reduced[2] if len(reduced) > 2 else {}  # noqa: PLR2004  of those, if any
        return (*reduced[:2], {**attributes, "__cause__": _portable(self.__cause__)})


class ConfigurationError(RootstockError, ValueError):
    """An argument, environment variable or config file is invalid."""


class UnknownNameError(ConfigurationError):
    """A name is unknown.

    Attributes
    ----------
    name : str
        The name as it was given.
    suggestions : tuple of str
        Known names that look alike, best first.
    """

    def __init__(self, message: str, name: str = "", suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.suggestions = suggestions


class UnknownArgumentError(UnknownNameError, TypeError):
    """A calculator was given a keyword argument that it does not have."""


class EnvironmentFileError(RootstockError):
    """An environment file is missing, unreadable or broken."""


class BuildError(RootstockError):
    """uv could not lock or build an environment.

    Attributes
    ----------
    output : str
        Everything that uv printed.
    """

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class RootError(RootstockError, OSError):
    """The root can't be read or written."""


class OutputError(RootstockError, OSError):
    """A file that the user asked for can't be written, or a store is damaged or in use."""


class WeightsError(RootstockError, OSError):
    """Weights that were fetched are missing or changed; names the file and the command."""


class StructureError(RootstockError, InputError, ValueError):  # type: ignore[misc]  # ASE has no types
    """The structure is invalid; it was rejected before it was sent to a worker."""


class StartupError(RootstockError, CalculatorSetupError):  # type: ignore[misc]  # ASE has no types
    """The worker did not start."""


class SetupError(StartupError):
    """``setup()`` of an environment file raised, or did not return an ASE calculator."""


class CalculationError(RootstockError, CalculationFailed):  # type: ignore[misc]  # ASE has no types
    """A call did not return results."""


class ModelError(CalculationError):
    """The model raised while it calculated; its worker keeps running.

    ``__cause__`` is a :class:`RemoteTracebackError` that shows the traceback inside the worker.

    Attributes
    ----------
    remote_type : str
        Qualified name of the exception's class inside the worker.
    """

    def __init__(self, message: str, remote_type: str = "") -> None:
        super().__init__(message)
        self.remote_type = remote_type


class OutOfMemoryError(ModelError, MemoryError):
    """The model ran out of memory for a structure; its worker keeps running."""


class BatchError(ModelError):
    """The environment file's ``evaluate_batch()`` failed for a batch as a whole.

    Attributes
    ----------
    out_of_memory : bool
        Whether memory ran out: a smaller batch may fit.
    """

    def __init__(self, message: str, remote_type: str = "", *, out_of_memory: bool = False) -> None:
        super().__init__(message, remote_type)
        self.out_of_memory = out_of_memory


class WorkerDiedError(CalculationError, StartupError):
    """The worker process died.

    Attributes
    ----------
    returncode : int or None
        As :attr:`subprocess.Popen.returncode`: negative for a signal; None if unknown.
    log_tail : str
        The last lines that the worker printed.
    """

    def __init__(self, message: str, returncode: Optional[int] = None, log_tail: str = "") -> None:
        super().__init__(message)
        self.returncode = returncode
        self.log_tail = log_tail


class CallTimeoutError(CalculationError, TimeoutError):
    """No answer came within ``timeout`` or ``startup_timeout``; the worker was stopped."""


class PropertyMissingError(RootstockError, PropertyNotImplementedError):  # type: ignore[misc]  # ASE has no types
    """The model does not have this property."""


class DisagreementError(RootstockError):
    """The members of a committee disagree by more than a limit."""


class ExecutorError(RootstockError):
    """The executor given to ``evaluate`` failed as a whole; its own error is the cause.

    What had finished before was returned.
    """


class ProtocolError(RootstockError):
    """The peer sent something that is not the protocol."""


class PeerClosedError(ProtocolError, EOFError):
    """The peer closed the connection."""


class RemoteTracebackError(Exception):
    """The traceback of another process, as the cause of an error in this one."""

    def __str__(self) -> str:
        """Return the traceback on lines of its own."""
        return "\n\n" + str(self.args[0] if self.args else "")


def make_portable(error: RootstockError) -> None:
    """Change an error and its causes so that any pickler can send them to another process.

    tblib, which distributed installs, pickles causes and tracebacks as they are, whatever
    ``__reduce__`` returns.
    """
    error.__traceback__ = error.__context__ = None
    if error.__cause__ is not None:
        error.__cause__ = _portable(error.__cause__)
        if isinstance(error.__cause__, RootstockError):
            make_portable(error.__cause__)


def _portable(cause: BaseException) -> BaseException:
    """Return the cause of an error in a form that pickles anywhere."""
    if isinstance(cause, (RootstockError, RemoteTracebackError)):
        return cause
    lines = traceback.format_exception(type(cause), cause, cause.__traceback__)
    return RemoteTracebackError("".join(lines))


class InsecureWarning(UserWarning):
    """Other users of this machine could change the code that a worker runs as you."""
