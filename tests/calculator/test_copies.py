"""Copies share a worker; pickles and new processes start their own."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle

import pytest
from ase import Atoms

from rootstock import RootstockCalculator
from tests.support.processes import worker_pids
from tests.support.structures import copper


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("used", [False, True])
def test_copies_share_the_worker(make, duplicate, used):
    calc = make("probe-misbehaving")
    atoms = copper()
    before = worker_pids()
    if used:
        calc.calculate(atoms)
    twins = [duplicate(calc) for _ in range(3)]
    for shift, twin in enumerate(twins):
        moved = atoms.copy()
        moved.positions += shift
        moved.calc = twin
        assert moved.get_potential_energy() == moved.positions.sum()
    assert len(worker_pids() - before) == 1
    pid = calc.report.pid
    twins.pop().close()
    del twins, twin, moved
    calc.calculate(atoms)
    assert calc.report.pid == pid
    calc.close()
    assert worker_pids() == before
    calc.calculate(copper(1))  # usable again
    calc.close()


def test_the_worker_ends_with_its_last_owner_without_close(make):
    before = worker_pids()
    atoms = copper()
    calc = RootstockCalculator(**make().parameters)
    atoms.calc = calc
    atoms.get_forces()
    twin = copy.deepcopy(calc)
    del calc, atoms
    assert len(worker_pids() - before) == 1
    del twin
    assert worker_pids() == before


def test_deepcopied_results_are_independent(make):
    calc = make()
    calc.calculate(copper())
    twin = copy.deepcopy(calc)
    twin.results["forces"] += 1
    assert not calc.results["forces"].any()


def test_a_pickle_keeps_results_and_starts_its_own_worker(make):
    calc = make("probe-misbehaving")
    atoms = copper()
    atoms.calc = calc
    energy = atoms.get_potential_energy()
    twin = pickle.loads(pickle.dumps(atoms))
    before = worker_pids()
    assert twin.get_potential_energy() == energy
    assert worker_pids() == before
    twin.positions += 1
    assert twin.get_potential_energy() == twin.positions.sum()
    assert len(worker_pids() - before) == 1
    twin.calc.close()
    assert calc.report.pid in worker_pids()


def test_a_forked_child_starts_its_own_worker(make):
    calc = make("probe-misbehaving")
    atoms = copper()
    atoms.calc = calc
    atoms.get_forces()
    pid = calc.report.pid
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            atoms.positions += 1
            correct = atoms.get_potential_energy() == atoms.positions.sum()
            other = calc.report.pid != pid
            calc.close()
            os.write(writing, b"yes" if correct and other else b"no")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"yes"
    os.close(reading)
    os.close(writing)
    atoms.positions += 2
    assert atoms.get_potential_energy() == atoms.positions.sum()
    assert calc.report.pid == pid


def _energy(atoms: Atoms) -> float:
    return atoms.get_potential_energy()


def test_spawned_processes_start_their_own_worker(make):
    atoms = copper()
    atoms.calc = make("probe-misbehaving")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_energy, [atoms]) == atoms.positions.sum()
