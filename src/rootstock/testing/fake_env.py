# /// script
# requires-python = ">=3.9"
# dependencies = ["ase>=3.22.1"]
# ///
"""A fake model for tests: cheap, deterministic, and able to fail on request.

``reference`` returns an energy (eV), forces (eV/Å, minus the gradient of the energy) and, for three
lattice vectors, a stress (eV/Å³, the derivative with respect to strain over the volume; positive
under tension). They depend on everything that a model may read: positions, species, cell, pbc,
initial charges and magnetic moments, tags, other per-atom arrays and ``info``.

``misbehaving`` does what ``atoms.info["do"]`` says, then returns the results of ``reference``:

    raise          raise RuntimeError            nan        return forces that are NaN
    exit-N         end the process, status N     noise      print 20 MB
    SIGKILL, ...   end the process by a signal   sleep-S    sleep S seconds

``null`` returns zeros.

``setup_kwargs={"misbehaviour": "raise"}`` and the like do the same in ``setup()``, of any model.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
import zlib
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ase import Atoms

MODELS = {
    "reference": "depends on all inputs",
    "null": "zeros",
    "misbehaving": "does what info['do'] says",
}

#: Arrays that enter the energy in a way of their own, or (momenta) are not sent to workers.
_KNOWN_ARRAYS = {
    "numbers",
    "positions",
    "momenta",
    "tags",
    "initial_charges",
    "initial_magmoms",
}


class Reference(Calculator):  # type: ignore[misc]  # ASE has no types
    """Springs from the atoms to the origin, stiffer in a larger cell."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def calculate(
        self,
        atoms: Optional[Atoms] = None,
        properties: Iterable[str] = ("energy",),
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Set the results: energy sum(k r²) s/2, where s = 1 + 0.001 sum(cell²)."""
        super().calculate(atoms, properties, system_changes)
        positions, cell = self.atoms.positions, self.atoms.cell.array
        springs = _springs(self.atoms)[:, None]
        scale = 1 + 0.001 * _sum(cell**2)
        unscaled = 0.5 * _sum(springs * positions**2)
        self.results = {
            "energy": scale * unscaled,
            "free_energy": scale * unscaled,
            "forces": -scale * springs * positions,
        }
        volume = abs(_sum(cell[0] * np.cross(cell[1], cell[2])))
        if volume > 0:
            by_strain = [
                scale * _sum(springs[:, 0] * positions[:, i] * positions[:, j])
                + 0.002 * unscaled * _sum(cell[:, i] * cell[:, j])
                for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
            ]
            self.results["stress"] = np.array(by_strain) / volume


class Misbehaving(Reference):
    """Does what ``info["do"]`` says first."""

    def calculate(
        self,
        atoms: Optional[Atoms] = None,
        properties: Iterable[str] = ("energy",),
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Misbehave, then set the results of the reference."""
        request = "" if atoms is None else str(atoms.info.get("do", ""))
        misbehave(request)
        super().calculate(atoms, properties, system_changes)
        if request == "nan":
            self.results["forces"] = np.full_like(self.results["forces"], np.nan)


class Null(Calculator):  # type: ignore[misc]  # ASE has no types
    """Returns zeros."""

    implemented_properties = ("energy", "forces", "stress")

    def calculate(
        self,
        atoms: Optional[Atoms] = None,
        properties: Iterable[str] = ("energy",),
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Set the results."""
        super().calculate(atoms, properties, system_changes)
        forces = np.zeros((len(self.atoms), 3))
        self.results = {"energy": 0.0, "forces": forces, "stress": np.zeros(6)}


def setup(model: str = "", device: str = "cpu", misbehaviour: str = "") -> Calculator:
    """Return a model of ``MODELS``, by default the reference; first do what `misbehaviour` says."""
    del device
    misbehave(misbehaviour)
    calculators = {"reference": Reference, "null": Null, "misbehaving": Misbehaving}
    if (model or "reference") not in calculators:
        msg = f"no model {model!r}: there are {', '.join(calculators)}"
        raise ValueError(msg)
    return calculators[model or "reference"]()


def misbehave(request: str) -> None:
    """Raise, die, sleep or print as `request` says; see the docstring of this file."""
    if request == "raise":
        msg = "the fake model raised on request"
        raise RuntimeError(msg)
    if request.startswith("exit-"):
        os._exit(int(request.partition("-")[2]))
    if request.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, request))
        time.sleep(60)  # a blocked signal must not lead to results
    if request.startswith("sleep-"):
        time.sleep(float(request.partition("-")[2]))
    if request == "noise":
        for _ in range(2000):
            sys.stdout.write("x" * 10_000 + "\n")


def _springs(atoms: Atoms) -> np.ndarray:
    """Return a spring constant for each atom, shape (n,), in eV/Å²."""
    info = {key: value for key, value in atoms.info.items() if key != "do"}
    springs: np.ndarray = 0.01 * atoms.numbers + float(atoms.pbc @ [1, 2, 4])
    springs += zlib.crc32(_text(info).encode()) % 1000 / 1000
    springs += 0.5 * atoms.get_initial_charges() + 0.125 * atoms.get_tags()
    springs += 0.25 * atoms.get_initial_magnetic_moments().reshape(len(atoms), -1).sum(axis=1)
    for name in sorted(set(atoms.arrays) - _KNOWN_ARRAYS):
        array = atoms.arrays[name]
        if array.dtype.kind in "biuf":
            springs += 0.0625 * array.reshape(len(atoms), -1).sum(axis=1)
    return springs


def _sum(array: np.ndarray) -> float:
    """Return the correctly rounded sum, so that results are the same in every version of NumPy."""
    return math.fsum(array.ravel().tolist())


def _text(value: Any) -> str:
    """Return a text that shows every number of a nested value, in an order of its own."""
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{_text(k)}: {_text(v)}' for k, v in value.items()))}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value)
