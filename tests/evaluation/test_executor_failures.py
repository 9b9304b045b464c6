"""Executors that break, lose chunks, can't pickle or are none; closing early."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pickle import PicklingError

import pytest
from ase import Atoms

from rootstock import ConfigurationError, RootstockError, StartupError, evaluate, prepare
from rootstock.errors import ExecutorError, PropertyMissingError, WorkerDiedError
from rootstock.evaluation.executors import ExecutorEngine
from rootstock.evaluation.pool import PoolOptions
from rootstock.evaluation.remote import close_sessions
from rootstock.settings.root import Root
from rootstock.testing import FakeEvaluator
from tests.support.executors import HoldingExecutor, InlineExecutor
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS
from tests.support.processes import worker_pids
from tests.support.scripts import output_of
from tests.support.structures import copper

MODEL = (TESTS / "support" / "batch_env.py").read_text()


@pytest.fixture
def root(tmp_path) -> Root:
    """A root with the springs of ``batch_env.py``."""
    yield root_with_fake_build(tmp_path, "springs", MODEL)
    close_sessions()


@pytest.fixture
def stream(root):
    """Start to evaluate with the springs."""

    def stream(structures, executor, model="springs", **options):
        options = {"device": "cpu", "progress": False, **options}
        return evaluate(structures, model, root=root, executor=executor, **options)

    return stream


def until_error(evaluations, kind=RootstockError):
    """Return what an iterator yields before it raises, and the error."""
    found = []
    with pytest.raises(kind) as caught:
        for evaluation in evaluations:
            found.append(evaluation)  # noqa: PERF402  what came before the error counts
    return found, caught.value


def indices(request) -> list[int]:
    return [index for index, _ in request.structures]


# --- broken executors -----------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [False, True])
def test_a_broken_executor_returns_what_had_finished(stream, ordered):
    class Breaking(HoldingExecutor):
        """Breaks in the first call after the second one has ended."""

        def submit(self, fn, /, *arguments):
            future = super().submit(fn, *arguments)
            if future is not self.held:
                self.held.set_exception(BrokenProcessPool("a process died"))
            return future

    images = [copper(1) for _ in range(60)]
    found, error = until_error(
        stream(images, Breaking(), ordered=ordered, max_in_flight=2), ExecutorError
    )
    assert [e.index for e in found] == list(range(12, 24))  # not in the first chunk
    assert all(e.ok for e in found)
    assert "broke: BrokenProcessPool: a process died" in str(error)
    assert "Results that had finished were returned" in str(error)
    assert isinstance(error.__cause__, BrokenProcessPool)


BROKEN = """
import multiprocessing, pathlib, sys
from concurrent.futures import ProcessPoolExecutor
from ase.build import bulk
import rootstock
from rootstock.errors import ExecutorError
images = [bulk("Cu", cubic=True) for _ in range(100)]
images[90].info["do"] = "kill parent"
root = rootstock.Root(pathlib.Path(sys.argv[1]), user_layer=pathlib.Path(sys.argv[2]))
found = []
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver")) as pool:
    try:
        for evaluation in rootstock.evaluate(images, "springs", root=root, device="cpu",
                                             executor=pool, max_in_flight=2, progress=False):
            found.append(evaluation)
    except ExecutorError as error:
        print(len(found) >= 12, all(e.ok for e in found), "broke: BrokenProcessPool" in str(error))
    try:
        list(rootstock.evaluate(images, "springs", root=root, executor=pool, progress=False))
    except ExecutorError as error:
        print("accepts no work: BrokenProcessPool" in str(error))
"""


def test_a_process_pool_that_breaks(root):
    assert output_of(BROKEN, root.path, root.user_layer) == "True True True\nTrue\n"


def test_an_executor_that_was_shut_down(stream):
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(ExecutorError, match=r"ThreadPoolExecutor accepts no work.*shutdown"):
        list(stream([copper(1)], executor))


def test_futures_that_someone_cancels(stream):
    class Cancelling(InlineExecutor):
        def submit(self, fn, /, *arguments):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(ExecutorError, match="broke: CancelledError"):
        list(stream([copper(1)], Cancelling()))


# --- chunks that are lost -------------------------------------------------------------------------


def test_a_structure_that_makes_every_chunk_fail_is_found_by_halving(stream):
    executor = InlineExecutor(
        lambda number, request: MemoryError("lost") if 30 in indices(request) else None
    )
    images = [copper(1) for _ in range(60)]
    found = list(stream(images, executor, max_in_flight=2))
    assert [e.index for e in found] == list(range(60))
    (failed,) = (e for e in found if not e.ok)
    assert failed.index == 30 and isinstance(failed.error, WorkerDiedError)
    assert "structure 30 (4 atoms) made the executor fail 2 times" in str(failed.error)
    assert "MemoryError: lost" in str(failed.error)
    assert isinstance(failed.error.__cause__, MemoryError)
    assert len({request.id for request in executor.requests}) == len(executor.requests)


def test_chunks_that_are_lost_once_are_evaluated_again(stream):
    executor = InlineExecutor(
        lambda number, request: OSError("a node went down") if number in (1, 2, 4) else None
    )
    found = list(stream([copper(1) for _ in range(60)], executor, max_in_flight=2))
    assert [e.index for e in found] == list(range(60)) and all(e.ok for e in found)


def test_an_executor_that_never_succeeds(stream):
    executor = InlineExecutor(lambda number, request: ModuleNotFoundError("No module 'rootstock'"))
    found, error = until_error(stream([copper(1)] * 100, executor), ExecutorError)
    assert not found
    assert "failed for 3 chunks in a row: ModuleNotFoundError" in str(error)
    assert isinstance(error.__cause__, ModuleNotFoundError)


def test_an_executor_that_stops_working_in_the_middle(stream):
    executor = InlineExecutor(lambda number, request: OSError("no node") if number else None)
    found, error = until_error(
        stream([copper(1)] * 10_000, executor, max_in_flight=2), ExecutorError
    )
    assert len(found) >= 12
    assert "chunks in a row: OSError: no node" in str(error)


# --- the model ------------------------------------------------------------------------------------


def test_the_error_of_a_model_that_does_not_load_is_raised_as_it_is(stream):
    with ThreadPoolExecutor(1) as executor:
        found, error = until_error(
            stream([copper(1)] * 3, executor, "springs", setup_kwargs={"no": 1})
        )
    assert not found
    assert isinstance(error, StartupError)
    assert "no" in str(error)


def test_a_property_that_the_model_lacks(stream):
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(PropertyMissingError, match="has no property 'dipole'"):
            list(stream([copper(1)] * 3, executor, properties=["dipole"]))


def test_the_provenance_of_an_engine(root):
    spec = prepare("springs", root=root, device="cpu")
    with ThreadPoolExecutor(1) as executor:
        engine = ExecutorEngine(executor, spec, PoolOptions())
        assert engine.provenance.build == spec.build == "build"
        assert engine.provenance is engine.provenance
        engine.close()
        assert executor.submit(int).result() == 0  # not shut down
    broken = ExecutorEngine(InlineExecutor(lambda n, r: OSError("no node")), spec, PoolOptions())
    with pytest.raises(ExecutorError, match="started no worker: OSError: no node"):
        broken.provenance


# --- pickling -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [PicklingError("Can't pickle"), TypeError("cannot pickle '_thread.lock' object")],
)
def test_an_executor_that_cannot_pickle(stream, error):
    with pytest.raises(
        ConfigurationError, match=r"InlineExecutor can't send structures or results"
    ):
        list(stream([copper(1)], InlineExecutor(lambda number, request: error)))

    class Refusing(InlineExecutor):
        def submit(self, fn, /, *arguments):
            raise error

    with pytest.raises(ConfigurationError, match=r"Refusing can't send .*must be able to pickle"):
        list(stream([copper(1)], Refusing()))


def test_a_spec_that_cannot_be_pickled_is_named(root):
    spec = prepare("springs", root=root, device="cpu")
    object.__setattr__(spec, "options", threading.Lock())
    executor = InlineExecutor(lambda n, r: TypeError("cannot pickle '_thread.lock' object"))
    with pytest.raises(ConfigurationError, match="can't send the model's WorkerSpec"):
        list(evaluate([copper(1)], spec, executor=executor, progress=False))


# --- closing early, and how far the input is read -------------------------------------------------


def test_closing_the_iterator_cancels_what_has_not_begun(stream):
    with ThreadPoolExecutor(1) as executor:
        evaluations = stream(
            [copper(1)] * 5000, executor, "springs-slow", exact=True, max_in_flight=6
        )
        next(evaluations)
        waiting = executor._work_queue.qsize()
        evaluations.close()
        assert waiting >= 1
        assert executor.submit(int).result() == 0  # not shut down, and not behind the chunks
        assert threading.active_count() < 10


@pytest.mark.parametrize("ordered", [True, False])
def test_an_endless_input_is_read_as_far_as_needed(stream, ordered):
    read = itertools.count()
    executor = InlineExecutor()
    evaluations = stream((copper(1) for _ in read), executor, ordered=ordered, max_in_flight=2)
    assert max(next(evaluations).index for _ in range(600)) < 600 + 1200
    evaluations.close()
    assert next(read) < 600 + 1200
    assert max(len(request.structures) for request in executor.requests) <= 256


def test_a_slow_first_chunk_limits_how_far_an_ordered_run_reads(stream):
    read, executor = itertools.count(), HoldingExecutor()
    evaluations = stream((copper(1) for _ in read), executor, max_in_flight=2)
    seen = []

    def release():
        seen.append(next(read))
        executor.release()

    timer = threading.Timer(3.0, release)
    timer.start()
    assert next(evaluations).index == 0
    evaluations.close()
    timer.join()
    assert seen[0] <= 2 * 4 * 256 + 256


def test_known_outcomes_need_no_executor(root):
    """A structure that is refused takes its place in the order without a chunk."""
    images = [copper(1) if n % 5 else Atoms() for n in range(60)]
    spec = prepare("springs", root=root, device="cpu")
    executor = InlineExecutor()
    found = list(evaluate(images, spec, executor=executor, progress=False))
    assert [e.index for e in found] == list(range(60))
    assert [e.index for e in found if not e.ok] == list(range(0, 60, 5))
    assert sum(len(request.structures) for request in executor.requests) == 48


def test_ctrl_c_leaves_the_executor_usable(stream):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        with ThreadPoolExecutor(1) as executor:
            timer.start()
            with pytest.raises(KeyboardInterrupt):
                list(stream([copper(1)] * 5000, executor, "springs-slow", exact=True))
            assert executor.submit(int).result() == 0
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)


# --- arguments ------------------------------------------------------------------------------------


class Client:
    """Looks like dask's."""

    def get_executor(self):
        return InlineExecutor()

    def submit(self, *arguments): ...


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"executor": 3}, "must be a concurrent.futures.Executor"),
        ({"executor": ProcessPoolExecutor}, "must be a concurrent.futures.Executor"),
        ({"executor": Client()}, r"use executor=client.get_executor\(\)"),
        ({"executor": InlineExecutor(), "max_in_flight": 0}, "max_in_flight=0 must be a positive"),
        ({"executor": InlineExecutor(), "devices": ["cpu"]}, "belong to workers of this machine"),
        ({"executor": InlineExecutor(), "workers_per_device": 2}, "belong to workers of this mach"),
        ({"max_in_flight": 2}, "max_in_flight needs an executor"),
    ],
)
def test_invalid_arguments(root, options, message):
    with pytest.raises(ConfigurationError, match=message):
        evaluate([copper(1)], "springs", root=root, device="cpu", progress=False, **options)
    assert not worker_pids()


def test_an_evaluator_takes_no_executor():
    with pytest.raises(ConfigurationError, match="executor: these belong to a model string"):
        evaluate([copper(1)], FakeEvaluator({"energy": 1.0}), executor=InlineExecutor())


def test_a_submit_that_returns_no_future(stream):
    class Other(InlineExecutor):
        def submit(self, fn, /, *arguments):
            return 3

    with pytest.raises(ConfigurationError, match="returned 3 instead of a future"):
        list(stream([copper(1)], Other()))
