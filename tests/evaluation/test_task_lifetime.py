"""What remains of tasks: returned and kept Atoms; how they end, and what ends them."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import signal
import threading

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import FIRE

from rootstock import ConfigurationError, RootstockCalculator
from rootstock.errors import (
    CalculationError,
)
from tests.support.processes import worker_pids
from tests.support.tasks import Runner, emt_root, rattled


@pytest.fixture
def run(tmp_path):
    return Runner(emt_root(tmp_path))


def relax(atoms):
    FIRE(atoms, logfile=None).run(fmax=0.05, steps=30)
    return atoms


def energy(atoms):
    return atoms.get_potential_energy()


# --- what comes out -------------------------------------------------------------------------------


def test_returned_atoms_carry_results_and_no_hub(run):
    def function(atoms):
        atoms.get_forces()
        moved, other = atoms.copy(), bulk("Al")
        moved.calc, other.calc = copy.copy(atoms.calc), EMT()
        moved.rattle(0.1)
        return {"atoms": atoms, "list": [moved, (other, None)], "again": atoms}

    value = run(function, rattled(1))[0].value
    assert isinstance(value["atoms"].calc, SinglePointCalculator)
    assert value["atoms"].get_potential_energy() == energy_of(rattled(1)[0], run.root)
    assert value["atoms"].get_forces().dtype == np.float64
    moved, (other, _) = value["list"]
    assert moved.calc is None
    assert isinstance(other.calc, EMT)


def energy_of(atoms, root):
    with RootstockCalculator("emt", root=root, device="cpu") as calc:
        return calc.get_property("energy", atoms)


def test_a_function_that_returns_nothing(run):
    assert [r.value for r in run(lambda _: None, rattled(2))] == [None, None]
    assert [r.provenance for r in run(lambda _: None, rattled(2))] == [None, None]


def test_a_function_that_calls_another_calculator(run):
    def function(atoms):
        own = atoms.calc
        atoms.calc = EMT()
        other = energy(atoms)
        atoms.calc = own
        return energy(atoms) - other

    assert [r.value for r in run(function, rattled(3), max_active=3)] == [0.0] * 3


def test_atoms_that_are_kept_after_the_end(run):
    kept = []

    def function(atoms):
        kept.append(atoms)
        return energy(atoms)

    (result,) = run(function, rattled(1))
    (atoms,) = kept
    assert atoms.get_potential_energy() == result.value  # a result that is there
    copies = [atoms.calc, copy.deepcopy(atoms.calc), pickle.loads(pickle.dumps(atoms.calc))]
    atoms.rattle(0.1)
    for calculator in copies:
        with pytest.raises(CalculationError, match="task of structure 0 has ended"):
            calculator.get_property("energy", atoms)
    assert "energy" in atoms.calc.implemented_properties


def test_a_forked_process_has_a_worker_of_its_own(run):
    def function(atoms):
        atoms.get_forces()
        ours, theirs = os.pipe()
        if os.fork() == 0:
            atoms.rattle(0.1)
            os.write(theirs, b"%.10f" % atoms.get_potential_energy())
            os._exit(0)
        atoms.rattle(0.1)
        expected = atoms.get_potential_energy()
        os.wait()
        found = float(os.read(ours, 100))
        os.close(ours), os.close(theirs)
        return found - expected

    for result in run(function, rattled(2), max_active=2):
        assert abs(result.value) < 1e-9


def test_a_task_within_a_task(run):
    def outer(atoms):
        inner = [r.value for r in run.stream(energy, [atoms, atoms])]
        return [*inner, energy(atoms)]

    for result in run(outer, rattled(2), max_active=2):
        assert len(set(result.value)) == 1


def test_the_calculator_of_a_task_is_described(run):
    def function(atoms):
        return repr(atoms.calc), atoms.calc.provenance.model, atoms.calc.name

    ((text, model, name),) = [r.value for r in run(function, rattled(1))]
    assert "emt" in text or "TaskCalculator" in text
    assert (model, name) == ("emt", "rootstock")


# --- input and end --------------------------------------------------------------------------------


def test_a_long_iterator_is_read_as_far_as_needed(run):
    read = itertools.count()

    def structures():
        for seed in read:
            yield rattled(1)[0] if seed else bulk("Al", cubic=True)

    stream = run.stream(energy, structures(), max_active=4)
    assert [next(stream).index for _ in range(20)] == list(range(20))
    stream.close()
    assert next(read) < 40


def test_an_input_that_raises_raises_after_what_it_gave(run):
    def structures():
        yield from rattled(3)
        msg = "frame 3 is broken"
        raise OSError(msg)

    stream = run.stream(relax, structures(), max_active=2)
    assert [next(stream).ok for _ in range(3)] == [True] * 3
    with pytest.raises(OSError, match="frame 3 is broken"):
        next(stream)


def test_closing_ends_functions_and_workers(run):
    ended, errors = [], []

    def function(atoms):
        try:
            for step in itertools.count():
                if step == 5 and len(atoms) == 4:
                    return step
                atoms.rattle(0.01, seed=step)
                atoms.get_forces()
        finally:
            ended.append(len(atoms))
            try:
                atoms.rattle(0.01)
                atoms.get_forces()
            except CalculationError as error:
                errors.append(error)

    stream = run.stream(function, rattled(4), max_active=4)
    assert next(stream).value == 5
    stream.close()
    assert sorted(ended) == [4, 4, 8, 8]
    assert len(errors) == 2  # the others ended by themselves
    assert not worker_pids()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_a_program_ends_all_tasks(run, error):
    ended = []

    def function(atoms):
        try:
            relax(atoms)
            if len(atoms) == 8:
                raise error
            for step in range(1000):
                atoms.rattle(0.01, seed=step)
                atoms.get_forces()
        finally:
            ended.append(len(atoms))

    with pytest.raises(error):
        run(function, rattled(3), max_active=3)
    assert sorted(ended) == [4, 4, 8]
    assert not worker_pids()


def test_ctrl_c(run):
    def function(atoms):
        for step in itertools.count():
            atoms.rattle(0.001, seed=step)
            atoms.get_forces()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            run(function, rattled(3), "emt-slow", max_active=3)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
    assert not worker_pids()


def test_another_thread_can_not_go_on(run):
    def function(atoms):
        for step in range(10 + len(atoms)):
            atoms.rattle(0.01, seed=step)
            atoms.get_forces()

    stream = run.stream(function, rattled(2), max_active=2)
    next(stream)
    errors = []

    def read():
        try:
            next(stream)
        except ConfigurationError as error:
            errors.append(str(error))

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert len(errors) == 1 and "in one thread" in errors[0]
    assert not worker_pids()
