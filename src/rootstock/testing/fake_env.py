# /// script
# requires-python = ">=3.9"
# dependencies = ["ase>=3.22.1"]
# ///
"""A fake model for tests: cheap, deterministic, and it fails on request.

``reference`` returns an energy (eV), forces (eV/Å, minus the gradient of the energy) and a stress
(eV/Å³, the derivative by strain over the volume) that depend on everything a model may read:
positions, species, cell, pbc, initial charges and magnetic moments, tags and ``info``.

``misbehaving`` does what ``atoms.info["do"]`` says before it returns the reference's results:

    raise        raise RuntimeError              nan          return forces that are NaN
    exit-N       end the process with status N   noise        print 20 MB
    SIGKILL, ... kill the process by a signal    sleep-S      sleep S seconds

``null`` returns zeros. ``setup_kwargs={"misbehaviour": "raise"}`` and so on makes ``setup()`` fail.
"""

import json
import os
import signal
import sys
import time
import zlib

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

MODELS = {
    "reference": "depends on all inputs",
    "null": "zeros",
    "misbehaving": "does what info['do'] says",
}


class Reference(Calculator):
    """Springs of different strength from each atom to the origin of the cell."""

    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        strengths = self._strengths(atoms)
        positions = atoms.positions
        energy = 0.5 * float((strengths * (positions**2).sum(axis=1)).sum())
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": -strengths[:, None] * positions,
        }
        volume = abs(np.linalg.det(atoms.cell.array))
        if volume > 0:
            virial = (strengths[:, None] * positions).T @ positions / volume
            self.results["stress"] = virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    def _strengths(self, atoms):
        """Return a spring constant for each atom, eV/Å²; positions and cell do not enter."""
        info = json.dumps({str(k): repr(v) for k, v in atoms.info.items() if k != "do"})
        return (
            0.01 * atoms.numbers
            + 0.5 * atoms.get_initial_charges()
            + 0.25 * atoms.get_initial_magnetic_moments()
            + 0.125 * atoms.get_tags()
            + float(atoms.pbc.dot([1, 2, 4]))
            + (zlib.crc32(info.encode()) % 1000) / 1000
        )


class Misbehaving(Reference):
    """Does what ``info["do"]`` says first."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        request = str(atoms.info.get("do", ""))
        fail(request)
        super().calculate(atoms, properties, system_changes)
        if request == "nan":
            self.results["forces"] = np.full((len(atoms), 3), np.nan)


class Null(Calculator):
    """Returns zeros."""

    implemented_properties = ["energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        self.results = {
            "energy": 0.0,
            "forces": np.zeros((len(atoms), 3)),
            "stress": np.zeros(6),
        }


def fail(request):
    """Raise, die, hang or print, as requested; see the module's docstring."""
    if request == "raise":
        raise RuntimeError("the fake model raised on request")
    if request.startswith("exit-"):
        sys.stdout.flush()
        os._exit(int(request[5:]))
    if request.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, request))
        time.sleep(60)
    if request.startswith("sleep-"):
        time.sleep(float(request[6:]))
    if request == "noise":
        for _ in range(2000):
            print("x" * 10_000)


def setup(model="reference", device="cpu", misbehaviour=""):
    fail(misbehaviour)
    models = {"": Reference, "reference": Reference, "null": Null, "misbehaving": Misbehaving}
    return models[model]()
