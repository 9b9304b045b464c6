"""Tasks in several processes: the same outcomes, whatever happens to the processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import FIRE

from rootstock import ConfigurationError, StartupError
from rootstock.errors import (
    CalculationError,
    ModelError,
    RemoteTracebackError,
    StructureError,
    WorkerDiedError,
)
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import REPO, TESTS
from tests.support.processes import wait_for_no_workers, worker_pids
from tests.support.tasks import Runner, emt_root, rattled, same


@pytest.fixture
def run(tmp_path):
    runner = Runner(emt_root(tmp_path))
    yield runner
    assert wait_for_no_workers()


def relax(atoms):
    FIRE(atoms, logfile=None).run(fmax=0.05, steps=30)
    return atoms


def test_outcomes_are_those_of_one_process(run):
    structures = rattled(8)
    expected = run(relax, structures, exact=True)
    for options in ({"exact": True}, {"batch_atoms": 100}, {"ordered": False}):
        results = run(relax, structures, processes=2, **options)
        indices = [r.index for r in results]
        assert sorted(indices) == list(range(8))
        assert indices == list(range(8)) or "ordered" in options
        for result in results:
            assert result.source is structures[result.index]
            assert same(result.value, expected[result.index].value)
            assert isinstance(result.value.calc, SinglePointCalculator)
            assert result.steps == expected[result.index].steps
        assert results[0].provenance.threads == max(1, len(os.sched_getaffinity(0)) // 2)


def test_local_functions_run_in_processes_of_their_own(run):
    factor = 2.0

    def function(atoms, rng):
        return os.getpid(), factor * atoms.get_potential_energy(), rng.random()

    structures = rattled(6)
    results = run(function, structures, processes=2, seed=3)
    pids = {r.value[0] for r in results}
    assert len(pids) == 2 and os.getpid() not in pids
    expected = run(function, structures, seed=3)
    assert [r.value[1:] for r in results] == [r.value[1:] for r in expected]


def test_a_function_of_main(tmp_path):
    root = emt_root(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            import sys
            from pathlib import Path
            sys.path.insert(0, {str(REPO)!r})
            import rootstock
            from rootstock.settings.root import Root
            from tests.support.tasks import rattled

            class Mine(Exception):
                pass

            def function(atoms):
                if len(atoms) == 8:
                    raise Mine("eight")
                return helper(atoms)

            def helper(atoms):
                return round(atoms.get_potential_energy(), 6)

            root = Root(Path({str(root.path)!r}), user_layer=Path({str(root.writable.path)!r}))
            for r in rootstock.map(function, rattled(4), "emt", processes=2, device="cpu", root=root, progress=False):
                print(r.index, isinstance(r.error, Mine) if r.error else r.value > 0)
        """)
    )
    done = subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.split() == ["0", "True", "1", "True", "2", "True", "3", "True"]
    assert done.stderr == ""


def test_errors_keep_their_type_and_traceback(run):
    class Odd(Exception):
        """Can be written by pickle, but not read."""

        def __init__(self, one, two):
            super().__init__(one)

    def function(atoms):
        if len(atoms) == 8:
            msg = "eight atoms"
            raise ValueError(msg)
        if atoms.info.get("odd"):
            raise Odd(1, 2)
        return atoms.get_potential_energy()

    structures = [*rattled(4), "Cu"]
    structures[0].info["do"] = "raise"
    structures[2].info["odd"] = True
    results = run(function, structures, processes=2)
    kinds = [type(r.error) for r in results]
    assert kinds == [ModelError, ValueError, CalculationError, ValueError, StructureError]
    assert isinstance(results[1].error.__cause__, RemoteTracebackError)
    assert "in function" in str(results[1].error.__cause__)
    assert "Odd: 1" in str(results[2].error)
    with pytest.raises(ModelError, match="as info said"):
        run(function, structures, processes=2, on_error="raise")


def test_what_can_not_be_sent(run):
    lock = threading.Lock()

    def with_lock(atoms):
        with lock:
            return atoms

    with pytest.raises(ConfigurationError, match=r"with_lock.* can't be sent.*processes=1"):
        run.stream(with_lock, rattled(2), processes=2)

    def returns_lock(atoms):
        return threading.Lock() if len(atoms) == 8 else len(atoms)

    structures = rattled(4)
    structures[2].info["lock"] = lock
    results = run(returns_lock, structures, processes=2)
    assert [type(r.error) for r in results] == [
        type(None),
        *[ConfigurationError] * 3,
    ]
    assert "structure 1 can't be sent from its process" in str(results[1].error)


def test_a_killed_process_is_replaced(run, tmp_path):
    marker = tmp_path / "killed"

    def function(atoms):
        for step in range(10):
            atoms.rattle(0.01, seed=step)
            atoms.get_forces()
            if step == 5 and not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return atoms

    results = run(function, rattled(6), processes=2, max_active=3)
    assert [r.error for r in results] == [None] * 6
    assert marker.exists()


def test_a_function_that_ends_its_process_is_given_up(run):
    def function(atoms):
        atoms.get_forces()
        if atoms.info.get("exit"):
            os._exit(3)
        return len(atoms)

    structures = rattled(6)
    structures[2].info["exit"] = True
    results = run(function, structures, processes=2, max_active=3)
    assert [r.index for r in results if not r.ok] == [2]
    error = results[2].error
    assert isinstance(error, WorkerDiedError)
    assert "2 processes ended while they ran the function for structure 2" in str(error)
    assert "exit code 3" in str(error)
    assert [r.value for r in results if r.ok] == [4, 8, 8, 4, 8]


def test_a_function_that_exits_ends_everything(run):
    def function(atoms):
        sys.exit(f"stop at {len(atoms)}")

    with pytest.raises(SystemExit, match="stop at"):
        run(function, rattled(3), processes=2)


def test_a_worker_that_does_not_start(run):
    with pytest.warns(RuntimeWarning, match="unexpected keyword"), pytest.raises(StartupError):
        run(relax, rattled(3), processes=2, setup_kwargs={"no": 1})


def test_workers_that_do_not_fit_are_done_without(tmp_path):
    springs = (TESTS / "support" / "batch_env.py").read_text()
    runner = Runner(root_with_fake_build(tmp_path, "springs", springs), "springs-slow-alone")

    def function(atoms):
        for _ in range(50):
            atoms.rattle(0.01)
            atoms.get_forces()

    with pytest.warns(RuntimeWarning, match="no room for a second model.*1 go on"):
        results = runner(function, rattled(20), processes=2, exact=True)
    assert all(r.ok for r in results)


def test_an_iterator_of_any_length_and_an_early_end(run):
    read = []

    def structures():
        while True:
            read.append(None)
            yield rattled(1)[0]

    stream = run.stream(relax, structures(), processes=2, max_active=2)
    assert [next(stream).index for _ in range(8)] == list(range(8))
    assert len(read) < 40
    started = time.monotonic()
    stream.close()
    assert time.monotonic() - started < 10
    assert wait_for_no_workers()


def test_ctrl_c(run):
    def function(atoms):
        while True:
            atoms.rattle(0.01)
            atoms.get_forces()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(2.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            run(function, rattled(3), processes=2)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert wait_for_no_workers()


def test_large_structures_and_values_do_not_block(run):
    """Both sides write more than a socket holds."""

    def function(atoms):
        return np.zeros(500_000), len(atoms)

    structures = [atoms * (20, 20, 20) for atoms in rattled(4, size=1)]
    results = run(function, structures, processes=2, max_active=4)
    assert [r.value[1] for r in results] == [32_000] * 4


def test_devices_get_a_process_each(run):
    results = run(lambda _: os.getpid(), rattled(6), devices=["cpu", "cpu"])
    assert len({r.value for r in results}) == 2


def test_progress_counts_force_calls(run):
    seen = []
    results = run(relax, rattled(6), processes=2, progress=seen.append)
    last = seen[-1]
    assert (last.done, last.errors, last.total) == (6, 0, 6)
    assert last.steps == sum(r.steps for r in results)


def test_processes_end_with_this_one(tmp_path):
    root = emt_root(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            import os, sys, time
            from pathlib import Path
            sys.path.insert(0, {str(REPO)!r})
            import rootstock
            from rootstock.settings.root import Root
            from tests.support.tasks import rattled

            def function(atoms):
                atoms.get_forces()
                if atoms.info.get("last"):
                    time.sleep(100)
                return os.getpid()

            root = Root(Path({str(root.path)!r}), user_layer=Path({str(root.writable.path)!r}))
            structures = rattled(4)
            structures[-1].info["last"] = True
            for r in rootstock.map(function, structures, "emt", processes=2, device="cpu", root=root, progress=False):
                print(r.value, flush=True)
        """)
    )
    process = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    pids = {int(process.stdout.readline()) for _ in range(3)}
    assert worker_pids()
    process.kill()
    process.communicate()
    assert wait_for_no_workers()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            for _ in range(100):
                os.kill(pid, 0)
                time.sleep(0.05)
