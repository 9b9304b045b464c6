"""A committee of models from environments that can't be one."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from rootstock import Committee, RootstockCalculator

pytestmark = [pytest.mark.model, pytest.mark.slow]

PBE = ["chgnet", "sevennet-7net-0"]
R2SCAN = ["chgnet-r2scan", "diep"]
MODELS = [*PBE, *R2SCAN, "sevennet-7net-l3i5"]


@pytest.fixture(scope="module")
def copper():
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=0)
    return atoms


@pytest.fixture(scope="module")
def salt():
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 2, 2)
    atoms.rattle(0.05, seed=0)
    return atoms


def test_numbers_by_hand_bit_for_bit(torch_root, copper, salt):
    options = {"root": torch_root, "device": "cpu", "threads": 1}
    with pytest.warns(RuntimeWarning, match="r2SCAN"):
        committee = Committee(MODELS, **options)
    singles = {}
    for name in MODELS:
        with RootstockCalculator(name, **options) as calc:
            singles[name] = [
                {key: calc.get_property(key, atoms) for key in ("energy", "forces")}
                for atoms in (copper, salt)
            ]
    with committee:
        for place, atoms in enumerate((copper, salt)):
            forces = committee.get_forces(atoms)
            each = np.array([singles[name][place]["forces"] for name in MODELS], float)
            assert (committee.results["forces_comm"] == each).all()
            assert (forces == each.mean(axis=0)).all()
            spread = np.sqrt(((each - each.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0))
            np.testing.assert_allclose(committee.results["forces_std"], spread, rtol=1e-12)
            assert 0.005 < committee.results["forces_std_mean"] < 0.3
            energies = np.array([singles[name][place]["energy"] for name in MODELS], float)
            assert (committee.results["energy_comm"] == energies.reshape(-1)).all()
            assert np.ptp(energies) / len(atoms) > 0.5  # PBE and r2SCAN
            assert "energy_std_per_atom" not in committee.results


def test_energies_on_one_scale(torch_root):
    scan = [
        image
        for crystal in (bulk("Cu", cubic=True), bulk("NaCl", "rocksalt", a=5.64))
        for image in _strained(crystal)
    ]
    options = {"root": torch_root, "device": "cpu", "threads": 1}
    with Committee(PBE, **options) as committee:
        with pytest.warns(RuntimeWarning, match="span 2 of 3 elements"):
            committee.fit_alignment(scan)
        committee.get_forces(scan[9])
        assert committee.results["energy_std_per_atom"] < 0.02
        assert np.ptp(committee.results["energy_comm"]) / len(scan[9]) > 0.1


def _strained(crystal):
    for factor in (0.97, 0.98, 0.99, 1.0, 1.01, 1.02):
        atoms = crystal.copy()
        atoms.set_cell(atoms.cell * factor, scale_atoms=True)
        yield atoms
