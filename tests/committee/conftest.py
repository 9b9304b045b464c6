"""A root with a model whose constants are its argument."""

from __future__ import annotations

import pytest
from ase.build import bulk

from tests.support.fake_builds import root_with_fake_build

#: Springs to the origin: "K" or "K,E": spring constant in eV/Å², and energy of each atom.
MODEL = """
# /// script
# dependencies = ["ase", "numpy"]
# [tool.rootstock.level_of_theory]
# 1 = "PBE"
# 2 = "PBE"
# 3 = "r2SCAN"
# 5 = "PBE with MP2020 corrections"
# ///
import os
import time

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Springs(Calculator):
    implemented_properties = ["energy", "forces", "stress", "magmoms"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        options = self.parameters
        time.sleep(options.get("seconds", 0))
        if options.get("die_on") in atoms.get_chemical_symbols():
            os._exit(3)
        if options.get("raise_on") in atoms.get_chemical_symbols():
            raise KeyError(options["raise_on"])
        k, offset = options["k"], options["offset"]
        energy = k * (atoms.positions**2).sum() / 2 + (offset * atoms.numbers).sum()
        self.results = {"energy": float(energy), "forces": -k * atoms.positions}
        self.results["forces"] = self.results["forces"].astype(options.get("dtype", "float64"))
        self.results["threads"] = int(os.environ.get("OMP_NUM_THREADS", 0))
        if atoms.pbc.all() and options.get("stress", True):
            stress = 0.01 * k * np.arange(1, 7)
            full = stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
            self.results["stress"] = full if k > 1.5 else stress


def setup(model, device, **options):
    k, _, offset = model.partition(",")
    return Springs(k=float(k), offset=float(offset or 0), **options)
"""


@pytest.fixture
def root(tmp_path):
    """A root with the springs."""
    return root_with_fake_build(tmp_path, "springs", MODEL)


@pytest.fixture
def copper():
    """Four atoms, displaced."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    return atoms
