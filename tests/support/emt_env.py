# /// script
# requires-python = ">=3.9"
# dependencies = ["ase>=3.22.1"]
# ///
"""ASE's EMT without memory: a structure has the same results whatever was calculated before.

``slow`` takes longer one by one than in a batch, whose results are equal bit for bit.
``info["do"]`` raises (``raise``) or ends the process (``die``). Stress costs extra: it is returned
where it is asked for.
"""

import os
import signal
import time

from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT


class FreshEMT(Calculator):
    implemented_properties = ["energy", "free_energy", "forces", "stress"]
    slow = False

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.slow:
            time.sleep(0.001)
        self.results = results(atoms, properties)


def results(atoms, properties):
    if atoms.info.get("do") == "raise":
        raise RuntimeError("as info said")
    if atoms.info.get("do") == "die":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    calculator = EMT()
    calculator.calculate(atoms, properties, all_changes)
    found = dict(calculator.results)
    if "stress" not in properties:
        found.pop("stress", None)
    return found


def setup(model, device):
    calculator = FreshEMT()
    calculator.slow = model == "slow"
    return calculator


def evaluate_batch(calculator, images, properties):
    return [results(atoms, properties) for atoms in images]
