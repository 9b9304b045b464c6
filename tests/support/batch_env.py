# /// script
# requires-python = ">=3.9"
# dependencies = ["ase>=3.22.1"]
# ///
"""Springs with an ``evaluate_batch()``; the model's name says what is special about it.

``slow`` calculates slowly one by one; ``slow-wrong`` returns energies per atom from batches;
``slow-short`` returns too few results; ``slow-memory`` runs out of memory beyond 100 atoms;
``slow-dies`` dies in batches of more than 100 atoms; ``slow-alone`` starts once. ``info["do"]`` of a structure raises
(``raise``), or ends the process (``die``) or the one that started it (``kill parent``), in a batch
and one by one. Uranium is not known.
"""

import os
import signal
import time

import numpy as np
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes


class Springs(Calculator):
    implemented_properties = ["energy", "forces", "stress"]
    model = ""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.model.startswith("slow"):
            time.sleep(0.004)
        self.results = springs(atoms, properties)


def springs(atoms, properties):
    if atoms.info.get("do") == "raise":
        raise RuntimeError("as info said")
    if atoms.info.get("do") == "die":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)
    if atoms.info.get("do") == "kill parent":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if 92 in atoms.numbers:
        raise KeyError("U")
    if "stress" in properties and not atoms.pbc.any():
        raise PropertyNotImplementedError("a molecule has no stress")
    constants = 0.01 * atoms.numbers[:, None] + atoms.info.get("charge", 0)
    forces = -constants * atoms.positions
    results = {"energy": float(-0.5 * (forces * atoms.positions).sum()), "forces": forces}
    if atoms.pbc.any():
        results["stress"] = np.arange(6.0) * 0.01
    return results


def setup(model, device):
    if model == "slow-alone":  # stands for a GPU that has room for one model
        try:
            open(os.path.join(os.environ["XDG_CACHE_HOME"], "running"), "x").close()
        except FileExistsError:
            raise MemoryError("there is no room for a second model") from None
    calculator = Springs()
    calculator.model = model
    return calculator


def evaluate_batch(calculator, images, properties):
    natoms = sum(map(len, images))
    if calculator.model == "slow-refuses":
        raise PropertyNotImplementedError("stress")
    if calculator.model == "slow-memory" and natoms > 100:
        raise MemoryError(f"{natoms} atoms do not fit")
    if calculator.model == "slow-dies" and natoms > 100:
        os.kill(os.getpid(), signal.SIGSEGV)
    outcomes = []
    for atoms in images:
        wanted = [name for name in properties if name != "stress" or atoms.pbc.any()]
        try:
            outcomes.append(springs(atoms, wanted))
        except KeyError as error:
            outcomes.append(error)
    if calculator.model == "slow-wrong":
        for atoms, results in zip(images, outcomes):
            results["energy"] /= len(atoms)
    return outcomes[1:] if calculator.model == "slow-short" else outcomes
