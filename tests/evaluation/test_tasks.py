"""Functions of many structures: outcomes, errors, batches, random numbers, progress."""

from __future__ import annotations

import functools
import os
import signal
import time
import traceback

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.optimize import FIRE

import rootstock
from rootstock import ConfigurationError, StartupError, TaskResult, prepare
from rootstock.errors import (
    ModelError,
    PropertyMissingError,
    StructureError,
    WorkerDiedError,
)
from rootstock.testing import FakeEvaluator
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS
from tests.support.processes import worker_pids
from tests.support.tasks import Runner, count_requests, emt_root, rattled


@pytest.fixture
def run(tmp_path):
    return Runner(emt_root(tmp_path))


def relax(atoms):
    FIRE(atoms, logfile=None).run(fmax=0.05, steps=30)
    return atoms


def energy(atoms):
    return atoms.get_potential_energy()


# --- outcomes -------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_input(run):
    structures = rattled(6)
    results = run(relax, structures, max_active=3)
    assert [r.index for r in results] == list(range(6))
    assert all(r.source is atoms for r, atoms in zip(results, structures))
    assert all(r.ok and isinstance(r, TaskResult) for r in results)
    assert all(r.value is not atoms for r, atoms in zip(results, structures))
    assert results[0].provenance.model == "emt"
    unordered = run(relax, structures, max_active=3, ordered=False)
    assert sorted(r.index for r in unordered) == list(range(6))
    assert [r.index for r in unordered] != list(range(6))


@pytest.mark.parametrize("structures", [[], iter(())])
def test_nothing(run, structures):
    assert run(relax, structures) == []


def test_an_exception_is_its_tasks_error(run):
    def fail(atoms):
        if len(atoms) == 8:
            atoms.get_forces()
            msg = "eight atoms"
            raise ValueError(msg)
        return energy(atoms)

    results = run(fail, rattled(4), max_active=4)
    assert [type(r.error) for r in results] == [type(None), ValueError, type(None), ValueError]
    with pytest.raises(ValueError, match="eight atoms"):
        results[1].value
    assert "get_forces()" not in str(results[1].error)
    assert "in fail" in "".join(traceback.format_tb(results[1].error.__traceback__))
    assert results[1].steps == 1
    with pytest.raises(ValueError, match="eight atoms"):
        run(fail, rattled(4), on_error="raise")


def test_errors_of_the_model_and_of_structures(run):
    structures = [*rattled(5), Atoms(), "Cu"]
    structures[1].info["do"] = "raise"
    structures[2].info["do"] = "die"
    structures[3].positions[0, 0] = np.nan
    for options in ({"max_active": 7}, {"batch_atoms": 100}, {}):
        results = run(relax, structures, **options)
        assert [type(r.error) for r in results] == [
            type(None),
            ModelError,
            WorkerDiedError,
            StructureError,
            type(None),
            StructureError,
            StructureError,
        ]
    assert "structure 2 (4 atoms) ended 2 workers" in str(results[2].error)
    assert "Atoms, not str" in str(results[6].error)


def test_a_function_may_catch_the_models_errors(run):
    def careful(atoms):
        atoms.info["do"] = "raise"
        with pytest.raises(ModelError, match="as info said"):
            atoms.get_forces()
        atoms.info["do"] = "die"
        with pytest.raises(WorkerDiedError):
            atoms.get_forces()
        with pytest.raises(PropertyMissingError, match="magmoms"):
            atoms.get_magnetic_moments()
        del atoms.info["do"]
        return energy(atoms)

    careful_result, plain_result = run(careful, rattled(1)), run(energy, rattled(1))
    assert careful_result[0].value == plain_result[0].value
    assert careful_result[0].steps == 3  # one in which the model raised, one in which it died


def test_a_worker_that_does_not_start_ends_everything(run):
    stream = run.stream(relax, rattled(3), setup_kwargs={"no": 1})
    with pytest.raises(StartupError):
        list(stream)


def test_a_worker_killed_in_the_middle_is_replaced(run):
    killed = []

    def function(atoms):
        for step in range(20):
            atoms.rattle(0.01, seed=step)
            atoms.get_forces()
            if step == 10 and not killed:
                killed.extend(worker_pids())
                os.kill(killed[0], signal.SIGKILL)
        return energy(atoms)

    expected = [r.value for r in run(function, rattled(3))]
    assert killed
    assert [r.value for r in run(function, rattled(3), max_active=3)] == expected


# --- batches --------------------------------------------------------------------------------------


def test_force_calls_are_evaluated_together(run, monkeypatch):
    structures = rattled(40)
    run(relax, structures[:3], batch_atoms=100)  # checks evaluate_batch()
    requests = count_requests(monkeypatch)
    results = run(relax, structures, batch_atoms=100)
    steps = sum(r.steps for r in results)
    assert sum(requests) == steps
    assert len(requests) < steps / 10
    assert {r.provenance.evaluation for r in results} == {"batch"}
    assert {r.provenance.atom_budget for r in results} == {100}
    first = requests.copy()
    requests.clear()
    assert [r.steps for r in run(relax, structures, batch_atoms=100)] == [r.steps for r in results]
    assert requests == first  # what shares a batch depends on the tasks alone


def test_batches_are_cut_to_the_budget(run, monkeypatch):
    structures = rattled(10)
    expected = [r.value.positions for r in run(relax, structures, exact=True)]
    requests = count_requests(monkeypatch)
    results = run(relax, structures, batch_atoms=12, max_active=10)
    assert {r.provenance.evaluation for r in results} == {"batch"}
    assert max(requests[5:]) <= 3  # of 4 atoms each
    assert all((r.value.positions == e).all() for r, e in zip(results, expected))


def test_energy_and_forces_come_from_one_call(run):
    def function(atoms):
        values = atoms.get_potential_energy(), atoms.get_forces(), atoms.get_potential_energy()
        return len(values)

    assert [r.steps for r in run(function, rattled(3))] == [1, 1, 1]

    def with_stress(atoms):
        for _ in range(5):
            atoms.rattle(0.01)
            atoms.get_forces(), atoms.get_stress()

    # a stress that costs extra is asked for by itself once, then with the forces
    assert [r.steps for r in run(with_stress, rattled(3), max_active=1)] == [6, 5, 5]
    # exact: as RootstockCalculator, which asks for what is asked for
    assert [r.steps for r in run(with_stress, rattled(2), exact=True)] == [10, 10]


def test_molecules_among_crystals(tmp_path):
    """A stress that some structures lack is not asked for again and again."""
    springs = (TESTS / "support" / "batch_env.py").read_text()
    root = root_with_fake_build(tmp_path, "springs", springs)

    def function(atoms):
        for step in range(5):
            atoms.rattle(0.01, seed=step)
            atoms.get_forces()
            if atoms.pbc.any():
                atoms.get_stress()
        if not atoms.pbc.any():
            with pytest.raises(PropertyMissingError, match="stress"):
                atoms.get_stress()
        return atoms

    structures = [bulk("Cu"), molecule("H2O")] * 3
    for options in ({"max_active": 6}, {"batch_atoms": 50}):
        results = list(
            rootstock.map(
                function, structures, "springs", root=root, device="cpu", progress=False, **options
            )
        )
        assert [r.error for r in results] == [None] * 6
        assert [len(r.value) for r in results] == [1, 3] * 3


def test_any_evaluator():
    fake = FakeEvaluator(lambda s: {"energy": 1.0, "forces": np.zeros_like(s.positions)})
    results = list(rootstock.map(relax, rattled(3), fake, progress=False))
    assert [r.value.get_potential_energy() for r in results] == [1.0] * 3
    assert not fake.closed
    with pytest.raises(ConfigurationError, match="processes, threads: these belong to a model"):
        rootstock.map(relax, [], fake, threads=1, processes=2)


def test_a_spec(run):
    spec = prepare("emt", root=run.root, device="cpu")
    assert all(r.ok for r in rootstock.map(relax, rattled(2), spec, progress=False))


# --- random numbers -------------------------------------------------------------------------------


def test_random_numbers_depend_on_seed_and_index_alone(run):
    def draw(atoms, *, rng):
        values = []
        for _ in range(1 + len(atoms) % 3):
            values.append(rng.random())
            atoms.get_forces()
        return values

    first = [r.value for r in run(draw, rattled(5), seed=7)]
    assert first == [r.value for r in run(draw, rattled(5), seed=7, max_active=5, exact=True)]
    assert first != [r.value for r in run(draw, rattled(5), seed=8)]
    assert first[2][0] == np.random.default_rng([7, 2]).random()
    own = functools.partial(draw, rng=np.random.default_rng(1))
    assert run(own, rattled(1))[0].value[0] == np.random.default_rng(1).random()


# --- arguments and progress -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"function": 3}, "has to be a function"),
        ({"model": len}, "has to be a model string"),
        ({"seed": -1}, "seed=-1"),
        ({"processes": 0}, "processes=0"),
        ({"max_active": 0}, "max_active=0"),
        ({"batch_atoms": 0.5}, "batch_atoms"),
        ({"on_error": "ignore"}, "must be 'return' or 'raise'"),
        ({"devices": "cuda:0"}, "must be a list"),
        ({"devices": ["quark"]}, "invalid device 'quark'"),
        ({"thread": 1}, "did you mean 'threads'"),
    ],
)
def test_invalid_arguments(run, options, message):
    arguments = {"function": relax, "structures": [], **options}
    with pytest.raises(ConfigurationError, match=message):
        run.stream(**arguments)


def test_progress_counts_force_calls(run):
    seen = []
    structures = rattled(8)
    structures[5].info["do"] = "raise"
    results = run(relax, structures, progress=seen.append, max_active=4)
    last = seen[-1]
    assert (last.done, last.errors, last.total) == (8, 1, 8)
    assert last.steps == sum(r.steps for r in results)
    assert last.natoms == sum(map(len, structures))
    assert f"8 of 8 structures, {last.structures_per_second:.3g}/s, {last.steps} force" in str(last)


def test_a_round_takes_no_time(tmp_path):
    """What the hub adds to a force call is little against ASE's own time."""
    fake = FakeEvaluator(lambda s: {"energy": 1.0, "forces": np.zeros_like(s.positions)})

    def function(atoms):
        for _ in range(50):
            atoms.positions += 0.01
            atoms.get_forces()

    started = time.perf_counter()
    list(rootstock.map(function, rattled(20), fake, progress=False, max_active=20))
    assert time.perf_counter() - started < 5
