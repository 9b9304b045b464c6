"""Other parts of ASE that use a calculator."""

from __future__ import annotations

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from tests.support.processes import worker_pids
from tests.support.structures import copper


def test_trajectories_and_single_points_take_the_results(reference, tmp_path):
    atoms = copper()
    atoms.calc = reference
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    for name in ("a.traj", "a.extxyz"):
        frozen = atoms.copy()
        frozen.calc = SinglePointCalculator(frozen, energy=energy, forces=forces)
        write(tmp_path / name, frozen)
        assert np.allclose(read(tmp_path / name).get_forces(), forces)
    write(tmp_path / "b.traj", atoms)
    assert np.array_equal(read(tmp_path / "b.traj").get_forces(), forces)


def test_calculation_required_and_get_property_without_calculating(make):
    calc = make()
    atoms = copper()
    assert calc.calculation_required(atoms, ["energy"])
    before = worker_pids()
    assert calc.get_property("energy", atoms, allow_calculation=False) is None
    assert worker_pids() == before
    calc.calculate(atoms, ["energy", "forces"])
    assert not calc.calculation_required(atoms, ["energy", "stress"])
    assert calc.atoms == atoms
    calc.reset()
    assert calc.calculation_required(atoms, ["energy"])
