"""Checks of any ASE calculator: what holds for every potential."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers, reference_states

from ..errors import RootstockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase.calculators.calculator import Calculator


__all__ = ["Check", "check_calculator", "of_element", "samples"]

#: Which derivatives are compared: the largest few say it all.
_COMPONENTS = 4
#: Strains, as (i, j): normal and shear.
_STRAINS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Check:
    """One question and its answer.

    Attributes
    ----------
    name : str
        What was asked.
    passed : bool
        Whether the model does it.
    detail : str
        Figures, or what went wrong.
    """

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Precision:
    """Steps and tolerances that fit a number format.

    Attributes
    ----------
    step : float
        Of finite differences; in Å, and as a strain times ten.
    energy : float
        Tolerance of energies, eV per atom.
    derivative : float
        Tolerance of forces (eV/Å) and of the virial (eV per atom), absolute and relative.
    """

    step: float
    energy: float
    derivative: float


_SINGLE = Precision(step=2e-2, energy=2e-5, derivative=2e-2)
_DOUBLE = Precision(step=2e-3, energy=1e-8, derivative=1e-3)


def samples(elements: Sequence[str] = ()) -> Iterator[Atoms]:
    """Yield small rattled structures: of these elements, or what most models know.

    Each has a cell, so that stress means something, unless it is a molecule.
    """
    if not elements:
        yield _rattled(bulk("NaCl", "rocksalt", 5.64) * (2, 1, 1))
        yield _rattled(bulk("Cu", cubic=True))
        yield _rattled(bulk("Si") * (2, 1, 1))
        water = molecule("H2O", vacuum=5.0)
        yield _rattled(water)
    for symbol in elements:
        yield _rattled(of_element(symbol))


def of_element(symbol: str) -> Atoms:
    """Return a small structure of one element: its crystal, or two atoms."""
    state = reference_states[atomic_numbers[symbol]] or {}
    if state.get("symmetry") in ("fcc", "bcc", "hcp", "diamond", "sc"):
        return bulk(symbol) * (2, 1, 1)
    pair = Atoms(f"{symbol}2", [[0, 0, 0], [0, 0, 2.0]], cell=[8, 8, 8])
    pair.center()
    return pair


def _rattled(atoms: Atoms) -> Atoms:
    atoms.rattle(0.05, seed=1)
    return atoms


def check_calculator(calc: Calculator, atoms: Atoms) -> list[Check]:
    """Check an ASE calculator on one structure.

    Properties are present, finite and of the right shape; the input stays what it was; results
    repeat; translations and shifts by a lattice vector leave the energy; forces and stress are the
    derivatives of the energy, within what the model's number format allows.

    Parameters
    ----------
    calc : Calculator
        With energy and forces.
    atoms : Atoms
        Not at a stationary point; not changed.
    """
    return list(_Subject(calc, atoms).checks())


class _Subject:
    """A calculator and the structure that it is checked on."""

    def __init__(self, calc: Calculator, atoms: Atoms) -> None:
        self._calc = calc
        self._atoms = atoms
        self._name = atoms.get_chemical_formula()
        self._precision = _DOUBLE

    def checks(self) -> Iterator[Check]:
        questions: dict[str, Callable[[], tuple[bool, str]]] = {
            "properties are there, finite, of the right shape": self._properties,
            "the input stays what it was": self._untouched,
            "a second evaluation gives the same": self._repeatable,
            "a translation leaves the energy": self._translation,
            "a shift by a lattice vector leaves the energy": self._lattice_shift,
            "forces are minus the gradient of the energy": self._forces,
            "stress is the gradient of the energy by strain": self._stress,
        }
        for question, check in questions.items():
            name = f"{question} ({self._name})"
            try:
                passed, detail = check()
            except RootstockError as error:
                passed, detail = False, str(error).partition("\n")[0]
            yield Check(name, bool(passed), detail)  # NumPy's own bool is no JSON
            if not passed and check == self._properties:
                return

    def _evaluate(self, atoms: Atoms) -> dict[str, Any]:
        copy = atoms.copy()
        copy.calc = self._calc
        energy = float(copy.get_potential_energy())
        found = {"energy": energy, "forces": np.array(copy.get_forces())}
        if self._has_stress(atoms):
            found["stress"] = np.array(copy.get_stress(), float)
        return found

    def _has_stress(self, atoms: Atoms) -> bool:
        return bool(atoms.pbc.all()) and "stress" in self._calc.implemented_properties

    def _energy(self, atoms: Atoms) -> float:
        return float(self._evaluate(atoms)["energy"])

    def _properties(self) -> tuple[bool, str]:
        found = self._evaluate(self._atoms)
        if found["forces"].dtype.itemsize < 8 or self._is_coarse(found["energy"]):  # noqa: PLR2004
            self._precision = _SINGLE
        shapes = {"forces": (len(self._atoms), 3), "stress": (6,)}
        wrong = [n for n, shape in shapes.items() if n in found and found[n].shape != shape]
        infinite = [name for name, value in found.items() if not np.isfinite(value).all()]
        if wrong or infinite:
            return False, f"wrong shape: {wrong}; not finite: {infinite}"
        return True, f"{', '.join(found)}; energy {found['energy']:.6f} eV"

    def _is_coarse(self, energy: float) -> bool:
        """Tell if an energy is a single-precision number, whatever type it comes in."""
        return float(np.float32(energy)) == energy and energy != round(energy, 3)

    def _untouched(self) -> tuple[bool, str]:
        atoms = self._atoms.copy()
        atoms.calc = self._calc
        before = {name: array.copy() for name, array in atoms.arrays.items()}
        cell = atoms.cell.array.copy()
        atoms.get_forces()
        changed = [name for name, array in before.items() if (atoms.arrays[name] != array).any()]
        changed += ["cell"] if (atoms.cell.array != cell).any() else []
        return not changed and set(before) == set(atoms.arrays), ", ".join(changed)

    def _repeatable(self) -> tuple[bool, str]:
        first = self._evaluate(self._atoms)
        other = self._atoms.copy()
        other.rattle(0.1, seed=2)
        self._evaluate(other)
        second = self._evaluate(self._atoms)
        worst = max(float(np.abs(first[name] - second[name]).max()) for name in first)
        return (
            worst <= self._precision.derivative,
            "bit for bit" if worst == 0 else f"to {worst:.1e}",
        )

    def _translation(self) -> tuple[bool, str]:
        moved = self._atoms.copy()
        moved.translate([0.31, -0.17, 0.23])
        return self._same_energy(moved)

    def _lattice_shift(self) -> tuple[bool, str]:
        if not self._atoms.pbc.all():
            return True, "not periodic"
        moved = self._atoms.copy()
        moved.positions[0] += moved.cell.array[0]
        moved.positions[-1] -= moved.cell.array[2]
        return self._same_energy(moved)

    def _same_energy(self, moved: Atoms) -> tuple[bool, str]:
        change = abs(self._energy(moved) - self._energy(self._atoms)) / len(moved)
        return change <= self._precision.energy, f"{change:.1e} eV per atom"

    def _forces(self) -> tuple[bool, str]:
        forces = self._evaluate(self._atoms)["forces"]
        largest = np.argsort(np.abs(forces).ravel())[::-1][:_COMPONENTS]
        worst = 0.0
        for atom, axis in zip(*np.unravel_index(largest, forces.shape)):
            slope = self._slope(partial(_move, atom=atom, axis=axis), 1.0)
            worst = max(worst, self._error(float(forces[atom, axis]), -slope))
        return worst <= self._precision.derivative, f"to {worst:.1e} eV/Å"

    def _stress(self) -> tuple[bool, str]:
        if not self._has_stress(self._atoms):
            return True, "no stress"
        stress = self._evaluate(self._atoms)["stress"]
        volume, natoms = self._atoms.get_volume(), len(self._atoms)
        worst = 0.0
        for voigt, (i, j) in enumerate(_STRAINS):
            slope = self._slope(partial(_strain, i=i, j=j), 0.1)
            worst = max(worst, self._error(stress[voigt] * volume / natoms, slope / natoms))
        return worst <= self._precision.derivative, f"to {worst:.1e} eV per atom"

    def _slope(self, change: Callable[[Atoms, float], None], unit: float) -> float:
        """Return a derivative of the energy by central differences of fourth order."""
        step = self._precision.step * unit
        energies = []
        for times in (-2, -1, 1, 2):
            atoms = self._atoms.copy()
            change(atoms, times * step)
            energies.append(self._energy(atoms))
        far, near = energies[3] - energies[0], energies[2] - energies[1]
        return (8 * near - far) / (12 * step)

    @staticmethod
    def _error(found: float, expected: float) -> float:
        return abs(found - expected) / (1 + abs(expected))


def _move(atoms: Atoms, by: float, *, atom: int, axis: int) -> None:
    atoms.positions[atom, axis] += by


def _strain(atoms: Atoms, by: float, *, i: int, j: int) -> None:
    strain = np.eye(3)
    strain[i, j] += by / 2
    strain[j, i] += by / 2
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
