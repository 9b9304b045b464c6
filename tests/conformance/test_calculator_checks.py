"""check_calculator passes correct calculators, and each of its checks detects a mistake."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from rootstock.conformance import Verification, check_calculator, samples
from tests.support.structures import copper


def failed(calc, atoms) -> list[str]:
    return [c.name.rpartition(" (")[0] for c in check_calculator(calc, atoms) if not c.passed]


def water():
    atoms = molecule("H2O", vacuum=4)
    atoms.rattle(0.05, seed=1)
    return atoms


def checks_of(calc, atoms):
    return {c.name.rpartition(" (")[0]: c for c in check_calculator(calc, atoms)}


def test_good_calculators_pass():
    assert failed(EMT(), copper(1)) == []
    assert not any(check.failed for check in check_calculator(EMT(), water()))
    assert failed(LennardJones(sigma=2.3, epsilon=0.4, rc=5.0, smooth=True), copper(1)) == []


class Wrong(EMT):
    """EMT with one mistake."""

    def __init__(self, mistake):
        super().__init__()
        self.mistake, self.count = mistake, 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        EMT.calculate(self, atoms, properties, system_changes)
        self.results = {name: np.array(value) for name, value in self.results.items()}
        self.count += 1
        results = self.results
        if self.mistake == "shape":
            results["forces"] = results["forces"][:-1]
        if self.mistake == "nan":
            results["forces"][0, 0] = np.nan
        if self.mistake == "nan later" and self.count > 1:
            results["forces"][0, 0] = np.nan
        if self.mistake == "nan elsewhere" and (self.first_positions(atoms) != 0).any():
            results["energy"] = results["energy"] * np.nan
        if self.mistake == "mutates":
            atoms.positions += 1e-9
        if self.mistake == "mutates info":
            atoms.info["seen"] = True
        if self.mistake == "mutates charges":
            atoms.set_initial_charges(np.ones(len(atoms)))
        if self.mistake == "drifts":
            results["forces"] = results["forces"] + 0.1 * self.count
        if self.mistake == "energy drifts":
            results["energy"] = results["energy"] + 1e-6 * self.count
        if self.mistake == "absolute":
            results["energy"] = results["energy"] + 0.1 * atoms.positions[:, 0].sum()
        if self.mistake == "images":
            results["energy"] = results["energy"] + 1e-4 * np.ptp(atoms.positions)
        if self.mistake == "forces":
            results["forces"] = results["forces"] * 1.05
        if self.mistake == "stress":
            results["stress"] = results["stress"] * 160.2  # GPa

    def first_positions(self, atoms):
        if not hasattr(self, "known"):
            self.known = atoms.positions.copy()
        return atoms.positions - self.known


@pytest.mark.parametrize(
    ("mistake", "name"),
    [
        ("shape", "properties are present"),
        ("nan", "properties are present"),
        ("mutates", "the input is not changed"),
        ("mutates info", "the input is not changed"),
        ("mutates charges", "the input is not changed"),
        ("drifts", "a second evaluation"),
        ("nan later", "a second evaluation"),
        ("energy drifts", "a second evaluation"),
        ("absolute", "a translation"),
        ("images", "a shift by a lattice vector"),
        ("forces", "forces are minus the gradient"),
        ("stress", "stress is the derivative"),
        ("nan elsewhere", "a translation"),
        ("nan elsewhere", "forces are minus the gradient"),
        ("nan elsewhere", "stress is the derivative"),
    ],
)
def test_each_mistake_is_detected(mistake, name):
    assert any(title.startswith(name) for title in failed(Wrong(mistake), copper(1)))


def test_a_property_that_fails_is_named():
    for mistake in ("nan later", "drifts"):
        checks = checks_of(Wrong(mistake), copper(1))
        assert "forces" in checks["a second evaluation returns the same"].detail


def test_checks_may_not_apply():
    checks = checks_of(EMT(), water())
    for name in (
        "a shift by a lattice vector keeps the energy",
        "stress is the derivative of the energy by strain",
    ):
        assert checks[name].outcome == "not applicable"
        assert not checks[name].passed and not checks[name].failed
    checks = checks_of(LennardJones(sigma=2.3, epsilon=0.4, rc=5.0, smooth=True), copper(1))
    assert {check.outcome for check in checks.values()} == {"passed"}


def test_a_verification_passes_if_nothing_failed_and_something_passed():
    checks = check_calculator(EMT(), water())
    inapplicable = tuple(check for check in checks if check.outcome == "not applicable")

    def passes(chosen) -> bool:
        return Verification("emt", "", "cpu", "host", "now", tuple(chosen)).passed

    assert passes(checks)
    assert inapplicable and not passes(inapplicable)
    assert not passes(())
    assert not passes([*checks, *check_calculator(Wrong("nan"), water())])


def test_figures_have_units():
    details = {name: check.detail for name, check in checks_of(EMT(), copper(1)).items()}
    for name, unit in {
        "a translation keeps the energy": "eV/atom",
        "a shift by a lattice vector keeps the energy": "eV/atom",
        "forces are minus the gradient of the energy": "eV/Å",
        "stress is the derivative of the energy by strain": "eV/Å³",
    }.items():
        assert details[name].count(f" {unit}") == 2, name  # figure and tolerance
        assert details[name].endswith(f"{unit})")
    drift = checks_of(Wrong("energy drifts"), copper(1))["a second evaluation returns the same"]
    assert "eV/atom" in drift.detail


def test_samples_are_small_and_not_stationary():
    for atoms in [*samples(), *samples(["Cu", "H", "In"])]:
        assert 1 < len(atoms) <= 8
        assert atoms.cell.rank == 3


def test_the_structure_is_not_changed():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    before = atoms.copy()
    check_calculator(EMT(), atoms)
    assert atoms == before and atoms.info == before.info


class Noisy(EMT):
    """EMT whose energy jumps by 1e-6 eV in every other evaluation."""

    count = 0

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        EMT.calculate(self, atoms, properties, system_changes)
        self.count += 1
        self.results["energy"] += 1e-6 * (self.count % 2)


def test_measured_noise_widens_the_tolerances_of_energies():
    names = {c.name for c in check_calculator(Noisy(), copper(1)) if c.failed}
    assert names
    noise = {"energy": 1e-6}
    allowed = {c.name for c in check_calculator(Noisy(), copper(1), noise) if c.failed}
    assert not any("translation" in name or "second evaluation" in name for name in allowed)
