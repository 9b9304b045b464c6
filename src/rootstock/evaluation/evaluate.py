"""Many structures through one model: :func:`evaluate`."""

from __future__ import annotations

import time
from collections import deque
from operator import length_hint
from typing import TYPE_CHECKING, Any, Union

from ..errors import ConfigurationError, StructureError
from ..properties import property_names
from ..runtime.preparation import prepare
from ..runtime.spec import WorkerSpec
from ..structures import from_atoms
from .engine import DEFAULT_PROPERTIES, Completed, Item, OneByOne, in_order
from .executors import ExecutorEngine
from .pool import Pool, PoolOptions, pool_specs
from .progress import EvaluationProgress, Reporter, reporter
from .result import Evaluation
from .submission import check_executor

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Executor
    from typing import Optional

    from ase import Atoms
    from typing_extensions import Unpack

    from ..runtime.arguments import CalculatorArguments
    from .engine import Engine, Entry
    from .evaluator import Evaluator

__all__ = ["check_on_error", "check_positive", "evaluate", "evaluations"]


def evaluate(  # noqa: PLR0913  keywords that users know from the calculator and the command
    structures: Iterable[Atoms],
    model: Union[str, WorkerSpec, Evaluator],
    *,
    properties: Optional[Iterable[str]] = None,
    devices: Optional[Sequence[str]] = None,
    workers_per_device: int = 1,
    executor: Optional[Executor] = None,
    max_in_flight: Optional[int] = None,
    batch_atoms: Optional[int] = None,
    exact: bool = False,
    ordered: bool = True,
    on_error: str = "return",
    progress: Union[bool, Callable[[EvaluationProgress], object], None] = None,
    **arguments: Unpack[CalculatorArguments],
) -> Generator[Evaluation, None, None]:
    """Evaluate many structures with one model; yield an :class:`Evaluation` for each.

    A structure that can't be evaluated, or that ends its worker, has an error instead of results;
    the others are not affected. Structures are read as they are needed, so an iterator of any
    length takes bounded memory.

    Parameters
    ----------
    structures : iterable of Atoms
        Any mixture; not modified.
    model : str, WorkerSpec or Evaluator
        Model string, with the calculator's `arguments`; or a spec; or anything that evaluates
        structures, which stays open.
    properties : iterable of str, optional
        The properties to ask for, each of which is required. By default energy, forces and stress,
        as far as the model has them for a structure. Results hold whatever the model returns.
    devices : sequence of str, optional
        ``["cuda:0", "cuda:1"]``: devices that share the work. By default `device` alone.
    workers_per_device : int
        Workers on each device. On the CPU they share its cores.
    executor : concurrent.futures.Executor, optional
        Evaluates in the processes of an executor, on any machine: dask's ``client.get_executor()``,
        parsl's ``ParslPoolExecutor``, executorlib's, loky's. Stays open.
    max_in_flight : int, optional
        Most chunks of structures that are submitted to the executor at a time; by default twice its
        number of workers.
    batch_atoms : int, optional
        A fixed number of atoms for each batch; by default what is fastest and fits into memory.
    exact : bool
        Evaluate structures one by one: the only setting whose results repeat bit for bit.
        Otherwise environments with an ``evaluate_batch()`` evaluate batches where these agree with
        the calculator within single precision, and are faster; the provenance says so.
    ordered : bool
        Yield in the order of the input, else as results come.
    on_error : str
        ``"return"``, or ``"raise"`` to raise the first error of a structure.
    progress : callable or bool, optional
        Called with an :class:`EvaluationProgress`; False shows nothing. By default a bar on a
        terminal and a line every half minute elsewhere.
    **arguments
        Those of :class:`rootstock.RootstockCalculator`.

    Yields
    ------
    Evaluation
        One for each structure. Closing the iterator ends the workers.

    Raises
    ------
    ConfigurationError, UnknownNameError, BuildError, StartupError
        As for the calculator.
    PropertyMissingError
        The model has no property of that name.
    ExecutorError
        The executor broke; what had finished was yielded.
    CallTimeoutError
        All workers were lost because loading the model took too long.
    Exception
        What `structures` raises, after the outcomes of the structures before.
    """
    check_on_error(on_error)
    check_positive("workers_per_device", workers_per_device)
    if batch_atoms is not None:
        check_positive("batch_atoms", batch_atoms)
    if devices is not None and (isinstance(devices, str) or not devices):
        msg = f"devices={devices!r} must be a list such as ['cuda:0', 'cuda:1']"
        raise ConfigurationError(msg)
    names = None if properties is None else property_names(properties)
    options = PoolOptions(names, batch_atoms, exact)
    engine: Engine
    _check_executor_arguments(executor, max_in_flight, devices, workers_per_device)
    if isinstance(model, (str, WorkerSpec)) and executor is not None:
        engine = ExecutorEngine(executor, prepare(model, **arguments), options, max_in_flight)
    elif isinstance(model, (str, WorkerSpec)):
        specs = pool_specs(prepare(model, **arguments), devices, workers_per_device)
        engine = Pool(specs, options)
    else:
        workers = None if workers_per_device == 1 else workers_per_device
        given = {"devices": devices, "workers_per_device": workers, **arguments}
        given |= {"batch_atoms": batch_atoms, "exact": exact or None, "executor": executor}
        extra = [name for name, value in given.items() if value is not None]
        if extra:
            msg = f"{', '.join(extra)}: these belong to a model string, not to an evaluator"
            raise ConfigurationError(msg)
        engine = OneByOne(model, names or DEFAULT_PROPERTIES)
    stream = evaluations(
        structures, engine, ordered=ordered, on_error=on_error, shown=reporter(progress)
    )
    return _then_close(stream, engine)


def check_positive(name: str, value: Any) -> None:
    """Raise :class:`ConfigurationError` unless a value is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        msg = f"{name}={value!r} must be a positive integer"
        raise ConfigurationError(msg)


def _check_executor_arguments(
    executor: Optional[Executor],
    max_in_flight: Optional[int],
    devices: Optional[Sequence[str]],
    workers_per_device: int,
) -> None:
    if executor is None and max_in_flight is not None:
        msg = "max_in_flight needs an executor: workers of this machine have no queue of chunks"
        raise ConfigurationError(msg)
    if executor is None:
        return
    check_executor(executor)
    if max_in_flight is not None:
        check_positive("max_in_flight", max_in_flight)
    if devices is not None or workers_per_device != 1:
        msg = (
            "devices and workers_per_device belong to workers of this machine: with an executor, "
            "its own settings say how many processes run on which devices"
        )
        raise ConfigurationError(msg)


def check_on_error(on_error: str) -> None:
    """Raise :class:`ConfigurationError` unless a value of `on_error` is a known one."""
    if on_error not in ("return", "raise"):
        msg = f"on_error={on_error!r} must be 'return' or 'raise'"
        raise ConfigurationError(msg)


def _then_close(
    stream: Generator[Evaluation, None, None], engine: Engine
) -> Generator[Evaluation, None, None]:
    try:
        yield from stream
    finally:
        stream.close()
        engine.close()


def evaluations(
    structures: Iterable[Atoms],
    engine: Engine,
    *,
    ordered: bool = True,
    on_error: str = "return",
    shown: Optional[Reporter] = None,
) -> Generator[Evaluation, None, None]:
    """Return an iterator over an :class:`Evaluation` for each structure.

    Parameters
    ----------
    structures, ordered, on_error
        As for :func:`evaluate`.
    engine : Engine
        Evaluates them; stays open.
    shown : Reporter, optional
        Shows the progress.

    Raises
    ------
    ConfigurationError
        `on_error` is invalid.
    """
    check_on_error(on_error)
    stream = _stream(structures, engine, ordered=ordered)
    hint = length_hint(structures, -1)
    return _watched(stream, on_error, shown or Reporter(), None if hint < 0 else hint)


def _watched(
    stream: Generator[Evaluation, None, None],
    on_error: str,
    shown: Reporter,
    total: Optional[int],
) -> Generator[Evaluation, None, None]:
    """Report progress, and raise errors if asked to."""
    state = EvaluationProgress(total=total)
    started = time.perf_counter()
    try:
        for evaluation in stream:
            state = EvaluationProgress(
                done=state.done + 1,
                errors=state.errors + (not evaluation.ok),
                natoms=state.natoms + len(evaluation.source),
                total=total,
                seconds=time.perf_counter() - started,
            )
            shown.update(state)
            if on_error == "raise" and evaluation.error is not None:
                raise evaluation.error
            yield evaluation
    finally:
        shown.close()
        stream.close()


def _stream(
    structures: Iterable[Atoms], engine: Engine, *, ordered: bool
) -> Generator[Evaluation, None, None]:
    sources: dict[int, Atoms] = {}
    indices: deque[int] = deque()
    completed = engine.run(_entries(structures, sources, indices), ordered=ordered)
    try:
        for entry in in_order(completed, indices) if ordered else completed:
            source = sources.pop(entry.index)
            yield Evaluation(entry.index, source, entry.outcome, entry.provenance)
    finally:
        completed.close()


def _entries(
    structures: Iterable[Atoms], sources: dict[int, Atoms], indices: deque[int]
) -> Iterator[Entry]:
    """Yield each structure with its number, or why it can't be evaluated."""
    for index, atoms in enumerate(structures):
        sources[index] = atoms
        indices.append(index)
        try:
            yield Item(index, from_atoms(atoms), atoms)
        except StructureError as error:
            yield Completed(index, error, None)
