"""Structures through real executors: processes, threads, loky, dask."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from rootstock import evaluate
from rootstock.errors import ModelError, RemoteTracebackError, StructureError, WorkerDiedError
from rootstock.evaluation.remote import close_sessions
from rootstock.settings.root import Root
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS
from tests.support.processes import wait_for_no_workers, worker_pids
from tests.support.scripts import output_of
from tests.support.structures import copper

MODEL = (TESTS / "support" / "batch_env.py").read_text()


@pytest.fixture
def root(tmp_path) -> Root:
    """A root with the springs of ``batch_env.py``."""
    yield root_with_fake_build(tmp_path, "springs", MODEL)
    close_sessions()


@pytest.fixture
def run(root):
    """Evaluate with the springs; return a list."""

    def run(structures, executor, model="springs", **options):
        options = {"device": "cpu", "progress": False, **options}
        return list(evaluate(structures, model, root=root, executor=executor, **options))

    return run


def expected(images) -> list[float]:
    return [float((0.005 * a.numbers[:, None] * a.positions**2).sum()) for a in images]


def energies(evaluations) -> list[float]:
    return [e.results["energy"] for e in evaluations]


# --- processes ------------------------------------------------------------------------------------

#: Run in a process of its own: the trackers of multiprocessing and loky keep descriptors open.
PROCESSES = """
import multiprocessing, os, pathlib, sys
from concurrent.futures import ProcessPoolExecutor
from ase import Atoms
from ase.build import bulk
import rootstock
import psutil

def executor(kind):
    if kind == "loky":
        from loky import ProcessPoolExecutor as LokyExecutor
        return LokyExecutor(2)
    if kind == "joblib":
        from joblib.externals.loky import get_reusable_executor
        return get_reusable_executor(2)
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context(kind))

images = [bulk("Cu", cubic=True, a=3.5 + 0.001 * number) for number in range(150)]
images[60].info["do"] = "raise"
images[70].info["do"] = "die"
images[80] = Atoms()
expected = [float((0.005 * a.numbers[:, None] * a.positions**2).sum()) for a in images]
root = rootstock.Root(pathlib.Path(sys.argv[1]), user_layer=pathlib.Path(sys.argv[2]))
with executor(sys.argv[3]) as pool:
    for model in ("springs-slow", "springs-slow"):
        found = list(rootstock.evaluate(images, model, root=root, device="cpu", executor=pool,
                                        progress=False))
        assert [e.index for e in found] == list(range(150))
        assert all(e.source is atoms for e, atoms in zip(found, images))
        errors = {e.index: type(e.error).__name__ for e in found if not e.ok}
        assert all(abs(e.results["energy"] - expected[e.index]) < 1e-9 for e in found if e.ok)
    commands = [c.cmdline() for c in psutil.Process().children(recursive=True)]
    workers = sum(any(part.endswith("worker/__main__.py") for part in c) for c in commands)
traceback = str(found[60].error.__cause__)
print(errors, "as info said" in traceback, "structure 70 (4 atoms)" in str(found[70].error), workers)
"""


@pytest.mark.parametrize("kind", ["spawn", "forkserver", "loky", "joblib"])
def test_processes(root, kind):
    if kind == "loky":
        pytest.importorskip("loky")
    output = output_of(PROCESSES, root.path, root.user_layer, kind)
    errors = "{60: 'ModelError', 70: 'WorkerDiedError', 80: 'StructureError'}"
    assert output == f"{errors} True True 2\n"
    assert wait_for_no_workers()


# --- threads --------------------------------------------------------------------------------------


def test_the_threads_of_a_process_share_one_worker(run):
    images = [copper(1, rattle=0.01 * n) for n in range(150)]
    with ThreadPoolExecutor(4) as executor:
        found = run(images, executor, "springs-slow", exact=True)
        np.testing.assert_allclose(energies(found), expected(images))
        (pid,) = worker_pids()
        run(images[:3], executor, "springs-slow", exact=True)
        assert worker_pids() == {pid}  # it is kept between two evaluations
    assert [e.index for e in found] == list(range(150))
    assert len({id(e.provenance) for e in found}) == 1


def test_errors_are_values_with_their_cause(run):
    images = [copper(1) for _ in range(20)]
    images[3].info["do"] = "raise"
    images[5].info["do"] = "die"
    images[7] = Atoms()
    images[9] = bulk("U")
    images[11] = molecule("H2O")
    with ThreadPoolExecutor(2) as executor:
        found = run(images, executor)
    errors = {e.index: type(e.error) for e in found if not e.ok}
    assert errors == {3: ModelError, 5: WorkerDiedError, 7: StructureError, 9: ModelError}
    assert isinstance(found[3].error.__cause__, RemoteTracebackError)
    assert "structure 5 (4 atoms) ended 2 workers" in str(found[5].error)
    assert set(found[11].results) == {"energy", "forces"}
    assert found[3].provenance is not None and found[7].provenance is None


def test_results_as_they_come_and_with_an_iterator(run):
    images = [copper(1, rattle=0.01 * n) for n in range(200)]
    with ThreadPoolExecutor(2) as executor:
        found = run(iter(images), executor, ordered=False, max_in_flight=3)
    assert sorted(e.index for e in found) == list(range(200))
    np.testing.assert_allclose(energies(sorted(found, key=lambda e: e.index)), expected(images))


def test_nothing_starts_without_structures(run):
    with ThreadPoolExecutor(2) as executor:
        assert run([], executor) == []
        assert [type(e.error) for e in run([Atoms()], executor)] == [StructureError]
    assert not worker_pids()


def test_an_input_that_raises_raises_after_what_it_gave(run, root):
    def structures():
        yield from [copper(1)] * 30
        msg = "frame 30 is broken"
        raise ValueError(msg)

    found = []
    with ThreadPoolExecutor(1) as executor:
        stream = evaluate(
            structures(), "springs", root=root, device="cpu", executor=executor, progress=False
        )
        with pytest.raises(ValueError, match="frame 30 is broken"):
            for evaluation in stream:
                found.append(evaluation)  # noqa: PERF402  what came before the error counts
    assert len(found) == 30


def test_batches_are_evaluated_together_and_what_was_learned_stays(run):
    images = [copper(1, rattle=0.01 * n) for n in range(200)]
    with ThreadPoolExecutor(1) as executor:
        found = run(images, executor, "springs-slow")
    np.testing.assert_allclose(energies(found), expected(images))
    kinds = [e.provenance.evaluation for e in found]
    assert kinds.count("single") <= 2 * 12 and kinds[-1] == "batch"
    assert found[-1].provenance.atom_budget >= 256


# --- dask -----------------------------------------------------------------------------------------


@pytest.fixture
def client():
    """A client of two workers of dask, each a process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.mark.filterwarnings("ignore")
def test_dask_with_a_worker_killed_in_the_middle(root, client):
    images = [copper(1, rattle=0.01 * n) for n in range(400)]
    executor = client.get_executor()
    stream = evaluate(
        images, "springs-slow", root=root, device="cpu", executor=executor, exact=True,
        progress=False,
    )  # fmt: skip
    found = [next(stream) for _ in range(30)]
    os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)
    found += stream
    np.testing.assert_allclose(energies(found), expected(images))


@pytest.mark.filterwarnings("ignore")
def test_a_structure_that_kills_dasks_workers(root, client):
    """Dask gives up a chunk whose workers died again and again; all but one structure go on."""
    images = [copper(1) for _ in range(6)]
    images[4].info["do"] = "kill parent"
    client.run_on_scheduler(_allow_no_failures)
    found = list(
        evaluate(
            images,
            "springs",
            root=root,
            device="cpu",
            executor=client.get_executor(),
            max_in_flight=1,
            progress=False,
        )
    )
    assert [e.index for e in found if not e.ok] == [4]
    assert isinstance(found[4].error, WorkerDiedError)
    assert "KilledWorker" in str(found[4].error)


def _allow_no_failures(dask_scheduler):
    dask_scheduler.allowed_failures = 0
