# /// script
# requires-python = ">=3.9"
# dependencies = ["ase>=3.22.1"]
# ///
"""A fake model for tests: cheap, deterministic, and able to fail on request.

``reference`` returns an energy (eV), forces (eV/Å, minus the gradient of the energy) and, for three
lattice vectors, a stress (eV/Å³, the derivative with respect to strain over the volume; positive
under tension). They depend on everything that a model may read: positions, species, cell, pbc,
initial charges and magnetic moments, tags, other numeric per-atom arrays (their names, dtypes and
every component) and ``info``. Absolute positions count: a translation changes the energy.

``misbehaving`` does what ``atoms.info["do"]`` says, then returns the results of ``reference``:

    raise          raise RuntimeError            nan        return forces that are NaN
    exit-N         end the process, status N     noise      print 20 MB
    SIGKILL, ...   end the process by a signal   sleep-S    sleep S seconds

It raises ValueError for other requests.

``null`` returns zeros.

``setup_kwargs={"misbehaviour": "raise"}`` and the like do the same in ``setup()``, of any model.
"""

from __future__ import annotations

import hashlib
import math
import os
import signal
import sys
import time
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

#: Where the springs of the atoms end (Å): no lattice site of usual structures.
_CENTRE = np.array([0.31, 0.73, 0.47])
#: Where those of the lattice vectors end (Å); all components differ, so that none can be exchanged.
_CELL_CENTRE = np.array([[0.11, -0.23, 0.35], [-0.47, 0.59, -0.61], [0.67, 0.79, -0.83]])
#: How much the lattice vectors stiffen the springs, in 1/Å².
_STIFFENING = 0.001
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))

#: Not inputs of a potential, or (positions) not part of the spring constants.
_NO_CONSTANTS = {"positions", "momenta"}
#: ASE returns zeros where these arrays are absent.
_ZERO_BY_DEFAULT = {"tags", "initial_charges", "initial_magmoms"}


class Reference(Calculator):  # type: ignore[misc]  # ASE has no types
    """Springs from the atoms to one point, stiffer the further the lattice vectors reach.

    The energy is ``s sum(k (1 + |r - centre|²/2))`` with ``s = 1 + c sum(|cell - cell_centre|²)``.
    The spring constant k of an atom is a hash of all inputs but positions and cell. The 1 keeps an
    atom visible that sits at the centre. Both centres stay where they are under strain.
    """

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def calculate(
        self,
        atoms: Optional[Atoms] = None,
        properties: Iterable[str] = ("energy",),
        system_changes: Iterable[str] = all_changes,
    ) -> None:
        """Set energy, forces and, for three lattice vectors, stress."""
        super().calculate(atoms, properties, system_changes)
        positions, cell = self.atoms.positions, self.atoms.cell.array
        constants = _spring_constants(self.atoms)
        extensions = positions - _CENTRE
        cell_extensions = cell - _CELL_CENTRE
        stiffness = 1 + _STIFFENING * _sum(cell_extensions * cell_extensions)
        unscaled = _sum(constants) + 0.5 * _sum(constants[:, None] * extensions * extensions)
        self.results = {
            "energy": stiffness * unscaled,
            "free_energy": stiffness * unscaled,
            "forces": -stiffness * constants[:, None] * extensions,
        }
        volume = abs(_sum(cell[0] * np.cross(cell[1], cell[2])))
        if volume > 0:
            virial = [
                stiffness * _symmetric(constants[:, None] * extensions, positions, i, j)
                + 2 * _STIFFENING * unscaled * _symmetric(cell_extensions, cell, i, j)
                for i, j in _VOIGT
            ]
            self.results["stress"] = np.array(virial) / volume


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
    elif request in signal.Signals.__members__:
        os.kill(os.getpid(), signal.Signals[request])
        time.sleep(60)  # a blocked signal must not lead to results
    elif request.startswith("sleep-"):
        time.sleep(float(request.partition("-")[2]))
    elif request == "noise":
        for _ in range(2000):
            sys.stdout.write("x" * 10_000 + "\n")
    elif request not in ("", "nan"):  # Misbehaving itself spoils its results
        msg = f"the fake model can't do {request!r}"
        raise ValueError(msg)


def _spring_constants(atoms: Atoms) -> np.ndarray:
    """Return a constant for each atom, shape (n,), from 1 to 2 eV/Å².

    It is a hash of ``pbc`` and ``info`` and of the atom's components of all numeric arrays.
    """
    arrays = {
        name: np.ascontiguousarray(array + 0 if array.dtype.kind in "fc" else array)  # no -0.0
        for name, array in sorted(atoms.arrays.items())
        if name not in _NO_CONSTANTS
        and array.dtype.kind in "biufc"
        and (name not in _ZERO_BY_DEFAULT or array.any())
    }
    info = {key: value for key, value in atoms.info.items() if key != "do"}
    kinds = [(name, array.dtype.str, array.shape[1:]) for name, array in arrays.items()]
    shared = hashlib.sha256(f"{atoms.pbc.tolist()} {_text(info)} {kinds}".encode()).digest()
    rows = [b"".join(row) for row in zip(*map(_rows, arrays.values()))]
    hashes = {row: hashlib.sha256(shared + row).digest() for row in set(rows)}
    fractions = {row: int.from_bytes(h[:6], "little") / 2**48 for row, h in hashes.items()}
    return np.array([1 + fractions[row] for row in rows])


def _rows(array: np.ndarray) -> list[bytes]:
    """Return the bytes of each atom's components."""
    raw, size = array.tobytes(), array.nbytes // max(len(array), 1)
    return [raw[i * size : (i + 1) * size] for i in range(len(array))]


def _symmetric(first: np.ndarray, second: np.ndarray, i: int, j: int) -> float:
    """Return component ij of the symmetric part of a sum of dyadic products of rows."""
    return 0.5 * _sum(np.concatenate([first[:, i] * second[:, j], first[:, j] * second[:, i]]))


def _sum(array: np.ndarray) -> float:
    """Return the correctly rounded sum, so that results are the same in every version of NumPy."""
    return math.fsum(array.ravel().tolist())


def _text(value: Any) -> str:
    """Return a text that shows types and every bit of a nested value, its keys in a fixed order."""
    if isinstance(value, dict):
        return f"{{{', '.join(sorted(f'{_text(k)}: {_text(v)}' for k, v in value.items()))}}}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}[{', '.join(map(_text, value))}]"
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        kind = "array" if isinstance(value, np.ndarray) else "scalar"
        return f"{kind}({value.dtype.str}, {value.shape}, {value.tobytes().hex()})"
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    return type(value).__qualname__  # what doesn't cross to a worker
