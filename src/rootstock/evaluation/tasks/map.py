"""Unmodified ASE code for many structures: :func:`map`."""

from __future__ import annotations

import time
from collections.abc import Sized
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional, Protocol, Union

from ...errors import ConfigurationError
from ...runtime.preparation import prepare
from ...runtime.session import Session
from ...runtime.spec import WorkerSpec
from ..engine import in_order
from ..engines import check_positive
from ..evaluate import check_on_error
from ..pool import pool_specs
from ..progress import EvaluationProgress, Reporter, reporter
from .calls import EvaluatorCalls, SessionCalls
from .function import TaskFunction
from .hub import Hub
from .inputs import Inputs
from .messages import Setup
from .processes import TaskProcesses, pickle_function
from .result import TaskResult

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from ase import Atoms
    from typing_extensions import Unpack

    from ...runtime.arguments import CalculatorArguments
    from ..evaluator import Evaluator
    from .hub import Finished
    from .inputs import Source

__all__ = ["map"]


def map(  # noqa: A001, PLR0913  its name says what it does; keywords that users know
    function: Callable[..., Any],
    structures: Iterable[Atoms],
    model: Union[str, WorkerSpec, Evaluator],
    *,
    processes: int = 1,
    devices: Optional[Sequence[str]] = None,
    batch_atoms: Optional[int] = None,
    exact: bool = False,
    ordered: bool = True,
    max_active: Optional[int] = None,
    seed: int = 0,
    on_error: str = "return",
    progress: Union[bool, Callable[[EvaluationProgress], object], None] = None,
    **arguments: Unpack[CalculatorArguments],
) -> Generator[TaskResult, None, None]:
    """Run ASE code for many structures with one model; yield a :class:`TaskResult` for each.

    `function` is ordinary ASE code for one structure: an optimizer, molecular dynamics, a NEB, or
    several of them. The functions of many structures run in turns, each up to its next force
    call; their force calls are evaluated together, in batches where the model has them.

    Parameters
    ----------
    function : callable
        ``function(atoms)``. The Atoms are a copy of the structure, with a calculator. A parameter
        called ``rng`` gets a ``numpy.random.Generator``, whose seed is `seed` and the structure's
        index. Atoms that it returns carry a ``SinglePointCalculator`` with their last results.
    structures : iterable of Atoms
        Any mixture of any length, read as they are needed; not modified.
    model : str, WorkerSpec or Evaluator
        Model string, with the calculator's `arguments`; or a spec; or anything that evaluates
        structures, which stays open.
    processes : int
        Processes that run the function, each with a worker: ASE's own time then overlaps with the
        model's. The function is sent to them with cloudpickle. On the CPU their workers share its
        cores.
    devices : sequence of str, optional
        ``["cuda:0", "cuda:1"]``: devices of the processes, in turns; there is at least one process
        for each.
    batch_atoms : int, optional
        A fixed number of atoms for each batch; by default what is fastest and fits into memory.
    exact : bool
        Evaluate structures one by one: results are bit for bit those of a loop over the structures
        with a :class:`rootstock.RootstockCalculator`, where the model repeats itself.
    ordered : bool
        Yield in the order of the input, else as functions end.
    max_active : int, optional
        Structures at a time, in each process. By default as many as fill a batch, and one where
        structures are evaluated one by one.
    seed : int
        Of the generators.
    on_error : str
        ``"return"``, or ``"raise"`` to raise the first error of a structure.
    progress : callable or bool, optional
        As for :func:`rootstock.evaluate`; it also shows the number of force calls.
    **arguments
        Those of :class:`rootstock.RootstockCalculator`.

    Yields
    ------
    TaskResult
        One for each structure. Closing the iterator ends the functions and the workers.

    Raises
    ------
    ConfigurationError, UnknownNameError, BuildError, StartupError
        As for the calculator; also for a function that can't be sent to other processes.
    Exception
        What `structures` raises, after the outcomes of the structures before.

    Notes
    -----
    The functions of one process run in one thread. What changes the state of the whole process,
    such as the working directory or ``numpy.random.seed()``, is seen by all of them, and a lock
    that is held during a force call blocks them for ever.
    """
    check_on_error(on_error)
    check_positive("processes", processes)
    for name, number in (("batch_atoms", batch_atoms), ("max_active", max_active)):
        if number is not None:
            check_positive(name, number)
    task_function = TaskFunction(function, seed)
    total = len(structures) if isinstance(structures, Sized) else None
    engine: _Engine
    if isinstance(model, (str, WorkerSpec)):
        setup = Setup(b"", prepare(model, **arguments), batch_atoms, exact, max_active)
        engine = _engine(task_function, _setups(setup, processes, devices), total)
    elif not hasattr(model, "evaluate"):
        msg = f"model={model!r} has to be a model string, a WorkerSpec or an evaluator"
        raise ConfigurationError(msg)
    else:
        several = None if processes == 1 else processes
        given = {"processes": several, "devices": devices, "batch_atoms": batch_atoms, **arguments}
        extra = [name for name, value in given.items() if value is not None]
        if extra:
            msg = f"{', '.join(extra)}: these belong to a model string, not to an evaluator"
            raise ConfigurationError(msg)
        engine = Hub(task_function, EvaluatorCalls(model), max_active)
    inputs = Inputs(structures, ordered=ordered)
    return _results(inputs, engine, on_error, _Watch(reporter(progress), total))


class _Engine(Protocol):
    """Runs tasks: a hub, or several processes with a hub each."""

    @property
    def steps(self) -> int: ...

    def run(
        self, source: Source, on_round: Callable[[int], object] = ...
    ) -> Generator[Finished, None, None]: ...

    def close(self) -> None: ...


def _setups(setup: Setup, processes: int, devices: Optional[Sequence[str]]) -> list[Setup]:
    """Return what each process needs: devices in turns, and each its share of the CPU."""
    if devices is not None and (isinstance(devices, str) or not devices):
        msg = f"devices={devices!r} must be a list such as ['cuda:0', 'cuda:1']"
        raise ConfigurationError(msg)
    names = list(devices or [setup.spec.device])
    chosen = [names[number % len(names)] for number in range(max(processes, len(names)))]
    return [replace(setup, spec=spec) for spec in pool_specs(setup.spec, chosen)]


def _engine(function: TaskFunction, setups: list[Setup], total: Optional[int]) -> _Engine:
    """Return what runs the tasks: one hub in this process, or one in each of several."""
    if len(setups) > 1:
        pickled = pickle_function(function)
        return TaskProcesses([replace(setup, function=pickled) for setup in setups], total)
    (setup,) = setups
    calls = SessionCalls(Session(setup.spec), setup.batch_atoms, exact=setup.exact)
    return Hub(function, calls, setup.max_active)


def _results(
    inputs: Inputs, engine: _Engine, on_error: str, watch: _Watch
) -> Generator[TaskResult, None, None]:
    finished = engine.run(inputs, watch.note_steps)
    try:
        for entry in in_order(finished, inputs.order) if inputs.ordered else finished:
            source = inputs.pop(entry.index)
            result = TaskResult(
                entry.index, source, entry.value, entry.error, entry.steps, entry.provenance
            )
            watch.note_result(result, engine.steps)
            if on_error == "raise" and result.error is not None:
                raise result.error
            yield result
        if inputs.error is not None:
            raise inputs.error
    finally:
        finished.close()
        engine.close()
        watch.close()


class _Watch:
    """Reports how far the tasks are."""

    def __init__(self, shown: Reporter, total: Optional[int]) -> None:
        self._shown = shown
        self._state = EvaluationProgress(total=total)
        self._started = time.perf_counter()

    def note_steps(self, steps: int) -> None:
        self._update(steps=steps)

    def note_result(self, result: TaskResult, steps: int) -> None:
        state, source = self._state, result.source
        self._update(
            done=state.done + 1,
            errors=state.errors + (not result.ok),
            natoms=state.natoms + (len(source) if isinstance(source, Sized) else 0),
            steps=max(steps, state.steps),
        )

    def _update(self, **changes: Any) -> None:
        seconds = time.perf_counter() - self._started
        self._state = replace(self._state, seconds=seconds, **changes)
        self._shown.update(self._state)

    def close(self) -> None:
        self._shown.close()
