"""Which engine evaluates: workers of this machine, an executor, or an evaluator of the caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

from ..errors import ConfigurationError
from ..runtime.preparation import prepare
from ..runtime.spec import WorkerSpec
from .engine import OneByOne
from .executors import ExecutorEngine
from .pool import Pool, PoolOptions, pool_specs
from .submission import check_executor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Executor

    from .engine import Engine
    from .evaluator import Evaluator

__all__ = ["EngineOptions", "check_positive", "make_engine"]


def check_positive(name: str, value: Any) -> None:
    """Raise :class:`ConfigurationError` unless a value is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{name}={value!r} must be a positive integer"
        raise ConfigurationError(msg)


@dataclass(frozen=True)
class EngineOptions:
    """How structures are evaluated; checked.

    Attributes
    ----------
    properties : tuple of str or None
        The properties to ask for, each of them required.
    devices : sequence of str or None
        Devices of this machine that share the work.
    workers_per_device : int
        Workers on each of them.
    executor : Executor or None
        Evaluates instead of workers of this machine.
    max_in_flight : int or None
        Chunks that are submitted to it at a time.
    batch_atoms : int or None
        A fixed budget of atoms for a batch.
    exact : bool
        Never use ``evaluate_batch()``.
    """

    properties: Optional[tuple[str, ...]] = None
    devices: Optional[Sequence[str]] = None
    workers_per_device: int = 1
    executor: Optional[Executor] = None
    max_in_flight: Optional[int] = None
    batch_atoms: Optional[int] = None
    exact: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        check_positive("workers_per_device", self.workers_per_device)
        for name in ("batch_atoms", "max_in_flight"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))
        if self.devices is not None and (isinstance(self.devices, str) or not self.devices):
            msg = f"devices={self.devices!r} must be a list such as ['cuda:0', 'cuda:1']"
            raise ConfigurationError(msg)
        self._check_executor()

    def _check_executor(self) -> None:
        if self.executor is None:
            if self.max_in_flight is not None:
                msg = "max_in_flight needs an executor: workers of this machine have no such queue"
                raise ConfigurationError(msg)
            return
        check_executor(self.executor)
        if self.devices is not None or self.workers_per_device != 1:
            msg = (
                "devices and workers_per_device belong to workers of this machine: with an "
                "executor, its own settings say how many processes run on which devices"
            )
            raise ConfigurationError(msg)

    @property
    def given(self) -> dict[str, Any]:
        """The options that say how to start workers, by name, as far as they were given."""
        values = {
            "devices": self.devices,
            "workers_per_device": None if self.workers_per_device == 1 else self.workers_per_device,
            "executor": self.executor,
            "batch_atoms": self.batch_atoms,
            "exact": self.exact or None,
        }
        return {name: value for name, value in values.items() if value is not None}


def make_engine(
    model: Union[str, WorkerSpec, Evaluator], options: EngineOptions, arguments: Mapping[str, Any]
) -> tuple[Engine, Optional[WorkerSpec]]:
    """Return an engine, and the prepared spec of its model if it is one of ours.

    Parameters
    ----------
    model : str, WorkerSpec or Evaluator
        An evaluator stays open when the engine is closed.
    options : EngineOptions
        How structures are evaluated.
    arguments : mapping
        Those of :class:`rootstock.RootstockCalculator`.

    Raises
    ------
    ConfigurationError
        Arguments or options that an evaluator does not have.
    UnknownNameError, BuildError
        As for the calculator.
    """
    if not isinstance(model, (str, WorkerSpec)):
        extra = [*options.given, *arguments]
        if extra:
            msg = f"{', '.join(extra)}: these belong to a model string, not to an evaluator"
            raise ConfigurationError(msg)
        return OneByOne(model, options.properties), None
    spec = prepare(model, **arguments)
    pool = PoolOptions(options.properties, options.batch_atoms, options.exact)
    if options.executor is not None:
        return ExecutorEngine(options.executor, spec, pool, options.max_in_flight), spec
    return Pool(pool_specs(spec, options.devices, options.workers_per_device), pool), spec
