"""The conformance kit: it passes what is right, and each of its checks finds what is wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from typer.testing import CliRunner

from rootstock import RootstockCalculator
from rootstock.cli import app
from rootstock.health import status
from rootstock.root import Root
from rootstock.verify import check_calculator, latest, samples, verify


def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def failed(calc, atoms) -> list[str]:
    return [c.name.rpartition(" (")[0] for c in check_calculator(calc, atoms) if not c.passed]


def test_good_calculators_pass():
    water = molecule("H2O", vacuum=4)
    water.rattle(0.05, seed=1)
    assert failed(EMT(), copper()) == []
    assert failed(EMT(), water) == []
    assert failed(LennardJones(sigma=2.3, epsilon=0.4, rc=5.0, smooth=True), copper()) == []


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
        if self.mistake == "mutates":
            atoms.positions += 1e-9
        if self.mistake == "drifts":
            results["forces"] = results["forces"] + 0.1 * self.count
        if self.mistake == "absolute":
            results["energy"] = results["energy"] + 0.1 * atoms.positions[:, 0].sum()
        if self.mistake == "images":
            results["energy"] = results["energy"] + 1e-4 * np.ptp(atoms.positions)
        if self.mistake == "forces":
            results["forces"] = results["forces"] * 1.05
        if self.mistake == "stress":
            results["stress"] = results["stress"] * 160.2  # GPa


@pytest.mark.parametrize(
    ("mistake", "found"),
    [
        ("shape", "properties are there"),
        ("nan", "properties are there"),
        ("mutates", "the input stays"),
        ("drifts", "a second evaluation"),
        ("absolute", "a translation"),
        ("images", "a shift by a lattice vector"),
        ("forces", "forces are minus the gradient"),
        ("stress", "stress is the gradient"),
    ],
)
def test_each_mistake_is_found(mistake, found):
    assert any(name.startswith(found) for name in failed(Wrong(mistake), copper()))


def test_samples_are_small_and_not_stationary():
    for atoms in [*samples(), *samples(["Cu", "H", "In"])]:
        assert 1 < len(atoms) <= 8
        assert atoms.cell.rank == 3


def test_a_model_in_its_environment(probe_root, tmp_path):
    root = Root(probe_root, overlay=tmp_path / "overlay")
    with RootstockCalculator("probe-emt", root=root, device="cpu", threads=1) as calc:
        found = verify(calc, [copper()])
    assert found.passed, found
    names = [check.name for check in found.checks]
    assert "equals the direct call in the environment" in names
    assert found.checks[-1].detail == "bit for bit"
    assert latest(root, "probe", "emt") == [found]
    assert found.device == "cpu" and found.host and found.key
    (health,) = [one for one in status(root) if one.name == "probe"]
    assert f"verified on {found.host} cpu" in health.detail


def test_a_model_that_prints_a_lot_stops_nothing(probe_root, tmp_path, monkeypatch):
    """More than a pipe holds, on stderr, in the direct call too."""
    monkeypatch.setenv("PROBE_AT_IMPORT", "stderr")
    root = Root(probe_root, overlay=tmp_path / "overlay")
    with RootstockCalculator("probe-emt", root=root, device="cpu", threads=1) as calc:
        assert verify(calc, [copper()]).passed


def test_the_command(probe_root):
    runner = CliRunner()
    arguments = ["--root", str(probe_root), "--device", "cpu", "--json"]
    done = runner.invoke(app, ["verify", "probe-emt", *arguments])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)["verifications"]
    assert found["model"] == "probe-emt"
    done = runner.invoke(app, ["verify", "probe-misbehaving", *arguments])  # forces that are not
    assert done.exit_code == 9
    assert json.loads(done.stdout)["passed"] is False
