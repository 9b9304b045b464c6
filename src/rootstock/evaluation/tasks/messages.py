"""What passes between the main process and a task process: pickles, one a message.

::

    main process  -> task process   Setup (the first message); Sent; None: no further structure
    task process  -> main process   Ready, Wanted, Steps, Done, Failed

Structures, values and errors are pickled by themselves: one that can't be read is its task's error.
"""

from __future__ import annotations

import pickle
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import cloudpickle

from ...errors import CalculationError, ConfigurationError, RemoteTracebackError, StructureError
from .inputs import Given, copy_of

if TYPE_CHECKING:
    from ...runtime.spec import WorkerSpec

__all__ = [
    "Done",
    "Failed",
    "PickledError",
    "Ready",
    "Sent",
    "Setup",
    "Steps",
    "Wanted",
    "pickle_error",
    "pickle_value",
    "unpickle_error",
]


@dataclass(frozen=True)
class Setup:
    """What a task process needs: the function, how to start a worker, and how to use it."""

    function: bytes
    spec: WorkerSpec
    batch_atoms: Optional[int]
    exact: bool
    max_active: Optional[int]


@dataclass(frozen=True)
class Sent:
    """A structure."""

    index: int
    source: bytes

    @classmethod
    def of(cls, given: Given) -> Sent:
        """Pickle a structure.

        Raises
        ------
        StructureError
            It is something else.
        ConfigurationError
            It can't be pickled.
        """
        try:
            return cls(given.index, bytes(cloudpickle.dumps(copy_of(given.source))))
        except StructureError:
            raise
        except Exception as error:
            msg = f"structure {given.index} can't be sent to another process: {error}"
            raise ConfigurationError(msg) from error

    def given(self) -> Given:
        """Return the structure; if it can't be read here, the error in its place."""
        try:
            return Given(self.index, pickle.loads(self.source))  # noqa: S301  from our own process
        except Exception as error:  # noqa: BLE001  a module that can't be imported here
            return Given(self.index, error)


@dataclass(frozen=True)
class Ready:
    """The function was read."""


@dataclass(frozen=True)
class Wanted:
    """The process has room for further structures."""

    number: int


@dataclass(frozen=True)
class Steps:
    """Force calls so far."""

    number: int


@dataclass(frozen=True)
class PickledError:
    """An exception and its traceback as text."""

    error: bytes
    text: str


@dataclass(frozen=True)
class Done:
    """The outcome of a task; fields as of :class:`~.hub.Finished`."""

    index: int
    value: bytes
    error: Optional[PickledError]
    steps: int
    provenance: Any


@dataclass(frozen=True)
class Failed:
    """The process ends because of this error, which belongs to no task."""

    error: PickledError


def pickle_value(value: Any, index: int) -> bytes:
    """Return a value's pickle.

    Raises
    ------
    ConfigurationError
        It can't be pickled.
    """
    try:
        return bytes(cloudpickle.dumps(value))
    except Exception as error:
        msg = (
            f"what the function returned for structure {index} can't be sent from its process: "
            f"{type(error).__name__}: {error}. Return Atoms, arrays or plain data, or use "
            "processes=1"
        )
        raise ConfigurationError(msg) from error


def pickle_error(error: BaseException) -> PickledError:
    """Return an exception's pickle; one that can't be pickled becomes a ``CalculationError``."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        pickled = cloudpickle.dumps(error)
        pickle.loads(pickled)  # noqa: S301  our own; some can be written, but not read
    except Exception:  # noqa: BLE001  whatever a user's class does
        pickled = cloudpickle.dumps(CalculationError(f"{type(error).__name__}: {error}"))
    return PickledError(bytes(pickled), text)


def unpickle_error(pickled: PickledError) -> BaseException:
    """Return an exception whose cause shows the traceback of its process."""
    error: BaseException = pickle.loads(pickled.error)  # noqa: S301  from our own process
    error.__cause__ = RemoteTracebackError(pickled.text)
    return error
