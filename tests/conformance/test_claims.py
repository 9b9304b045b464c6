"""verify: what a model says that it implements, and does not return."""

from __future__ import annotations

import pytest

from rootstock import verify
from tests.support.fake_builds import root_with_fake_build

FILE = """
# /// script
# dependencies = []
# ///
import numpy as np
from ase.calculators.calculator import Calculator, all_changes

class Claims(Calculator):
    implemented_properties = ["energy", "forces", "stress", "charges", "dipole"]
    missing = ()

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3)), "stress": np.zeros(6)}
        results |= {"charges": np.zeros(len(atoms)), "dipole": np.zeros(3)}
        self.results = {k: v for k, v in results.items() if k not in self.missing}

def setup(model, device):
    calculator = Claims()
    calculator.missing = model.split("-")
    return calculator
"""


@pytest.mark.parametrize(
    ("missing", "outcome"),
    [("nothing", "passed"), ("charges-dipole", "not applicable"), ("stress", "failed")],
)
def test_properties_that_are_claimed_and_not_returned_are_named(tmp_path, missing, outcome):
    root = root_with_fake_build(tmp_path, "claims", FILE)
    verification = verify(f"claims-{missing}", root=root, device="cpu")
    checks = {check.name: check for check in verification.checks}
    check = checks["returns the properties it claims"]
    assert check.outcome == outcome
    if outcome != "passed":
        assert all(f"no {name}: " in check.detail for name in missing.split("-"))
        assert "although it claims it" in check.detail
