# /// script
# requires-python = ">=3.9"
# dependencies = ["ase", "numpy"]
# [tool.rootstock]
# licence = "MIT"
# elements = "Cu Na Cl"
# [tool.rootstock.level_of_theory]
# 1 = "PBE"
# 2 = "PBE with corrections"
# 3 = "r2SCAN"
# ///
"""A model whose results are easy to compute by hand; its argument is "K" or "K,E".

Forces are -K r (eV/Å); the energy is E for each proton and K (V/V0 - 1)^2 for each atom, with V0 of
11 Å³ for each atom.
"""

import os

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class Compared(Calculator):
    implemented_properties = ["energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        options, symbols = self.parameters, atoms.get_chemical_symbols()
        if options.get("die_on") in symbols:
            os._exit(3)
        if options.get("raise_on") in symbols:
            raise KeyError(options["raise_on"])
        k, offset = options["k"], options["offset"]
        energy = offset * atoms.numbers.sum()
        if atoms.pbc.all():
            energy += k * len(atoms) * (atoms.get_volume() / len(atoms) / 11 - 1) ** 2
        self.results = {"energy": float(energy), "forces": -k * atoms.positions}
        if atoms.pbc.all() and options.get("stress", True):
            self.results["stress"] = 0.01 * k * np.arange(1.0, 7.0)


def setup(model, device, **options):
    if options.pop("does_not_start", False):
        raise RuntimeError("no room for this model")
    k, _, offset = model.partition(",")
    return Compared(k=float(k), offset=float(offset or 0), **options)
