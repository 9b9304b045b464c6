"""Many structures through one model: :func:`evaluate`."""

from __future__ import annotations

import time
from collections import deque
from operator import length_hint
from typing import TYPE_CHECKING, Union

from ..errors import ConfigurationError, StructureError
from ..properties import property_names
from ..structures import from_atoms
from .engine import Completed, Item, in_order
from .engines import EngineOptions, make_engine
from .progress import EvaluationProgress, Reporter, reporter
from .result import Evaluation
from .stored import Campaign, Shard, StoredEngine, store_options

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Executor
    from os import PathLike
    from typing import Optional

    from ase import Atoms
    from typing_extensions import Unpack

    from ..runtime.arguments import CalculatorArguments
    from ..runtime.spec import WorkerSpec
    from .engine import Engine, Entry
    from .evaluator import Evaluator
    from .stored import RetryErrors, StoreOptions

__all__ = ["check_on_error", "evaluate", "evaluations"]


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
    store: Union[str, PathLike[str], StoreOptions, None] = None,
    shard: Union[str, tuple[int, int], None] = None,
    retry_errors: RetryErrors = False,
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
    store : path-like or StoreOptions, optional
        A file ``NAME.db`` that keeps each outcome before it is yielded. Structures whose outcome is
        in the file are not evaluated again.
    shard : str or (int, int), optional
        ``"3/16"``: evaluate only every 16th structure, from the third one on; they keep their
        index. The store of the shard is ``NAME-3of16.db``.
    retry_errors : bool or str
        Errors in the store that are evaluated again: True for those of lost workers and time-outs,
        ``"all"``.
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
    OutputError
        The store can't be written, or another process writes to it.
    CallTimeoutError
        All workers were lost because loading the model took too long.
    Exception
        What `structures` raises, after the outcomes of the structures before.
    """
    check_on_error(on_error)
    share = None if shard is None else Shard.parse(shard)
    kept = store_options(store, retry_errors)
    names = None if properties is None else property_names(properties)
    options = EngineOptions(
        properties=names,
        devices=devices,
        workers_per_device=workers_per_device,
        executor=executor,
        max_in_flight=max_in_flight,
        batch_atoms=batch_atoms,
        exact=exact,
    )
    engine, spec = make_engine(model, options, arguments)
    if kept is not None:
        settings = {"properties": None if names is None else list(names), "exact": exact}
        engine = StoredEngine(engine, kept, Campaign(spec, settings, share, _length(structures)))
    stream = evaluations(
        structures,
        engine,
        ordered=ordered,
        on_error=on_error,
        shown=reporter(progress),
        shard=share,
    )
    return _then_close(stream, engine)


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
    shard: Optional[Shard] = None,
) -> Generator[Evaluation, None, None]:
    """Return an iterator over an :class:`Evaluation` for each structure.

    Parameters
    ----------
    structures, ordered, on_error
        As for :func:`evaluate`.
    shard : Shard, optional
        The share of the structures to evaluate.
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
    stream = _stream(structures, engine, shard, ordered=ordered)
    total = _length(structures)
    if total is not None and shard is not None:
        total = shard.size(total)
    return _watched(stream, on_error, shown or Reporter(), total)


def _length(structures: Iterable[Atoms]) -> Optional[int]:
    """Return how many structures there are; None if that is not known before reading."""
    length = length_hint(structures, -1)
    return None if length < 0 else length


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
                stored=state.stored + evaluation.stored,
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
    structures: Iterable[Atoms], engine: Engine, shard: Optional[Shard], *, ordered: bool
) -> Generator[Evaluation, None, None]:
    sources: dict[int, Atoms] = {}
    indices: deque[int] = deque()
    completed = engine.run(_entries(structures, sources, indices, shard), ordered=ordered)
    try:
        for entry in in_order(completed, indices) if ordered else completed:
            source = sources.pop(entry.index)
            yield Evaluation(
                entry.index, source, entry.outcome, entry.provenance, stored=entry.stored
            )
    finally:
        completed.close()


def _entries(
    structures: Iterable[Atoms],
    sources: dict[int, Atoms],
    indices: deque[int],
    shard: Optional[Shard],
) -> Iterator[Entry]:
    """Yield each structure with its number, or why it can't be evaluated."""
    for index, atoms in enumerate(structures):
        if shard is not None and index not in shard:
            continue
        sources[index] = atoms
        indices.append(index)
        try:
            yield Item(index, from_atoms(atoms), atoms)
        except StructureError as error:
            yield Completed(index, error, None, atoms)
