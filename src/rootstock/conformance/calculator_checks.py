"""Checks of any ASE calculator: properties that hold for every potential."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import RootstockError
from .check import FAILED, NOT_APPLICABLE, PASSED, Check, outcome
from .comparison import compare_results, describe_deviations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ase import Atoms
    from ase.calculators.calculator import Calculator


__all__ = ["check_calculator"]

#: Number of force components that are compared: the largest ones.
_COMPONENTS = 4
#: Strains, as (i, j): normal and shear.
_STRAINS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


@dataclass(frozen=True)
class Precision:
    """Steps of finite differences and tolerances that fit a number format.

    Attributes
    ----------
    step_A : float
        Displacement of an atom, Å.
    step_strain : float
        Strain, dimensionless.
    energy_eV_per_atom : float
        Tolerance of an energy.
    forces_eV_per_A : float
        Tolerance of a force component, absolute and relative to one plus its size.
    virial_eV_per_atom : float
        Tolerance of volume times stress, likewise.
    """

    step_A: float
    step_strain: float
    energy_eV_per_atom: float
    forces_eV_per_A: float
    virial_eV_per_atom: float


_SINGLE = Precision(2e-2, 2e-3, 2e-5, 2e-2, 2e-2)
_DOUBLE = Precision(2e-3, 2e-4, 1e-8, 1e-3, 1e-3)


def check_calculator(calc: Calculator, atoms: Atoms) -> list[Check]:
    """Check an ASE calculator on one structure.

    Properties are present, finite and of the right shape; the input is not changed; results
    repeat; translations and shifts by a lattice vector keep the energy; forces and stress are the
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
        checks: dict[str, Callable[[], tuple[str, str]]] = {
            "properties are present, finite, of the right shape": self._properties,
            "the input is not changed": self._input_unchanged,
            "a second evaluation returns the same": self._repeats,
            "a translation keeps the energy": self._translation,
            "a shift by a lattice vector keeps the energy": self._lattice_shift,
            "forces are minus the gradient of the energy": self._forces,
            "stress is the derivative of the energy by strain": self._stress,
        }
        for title, check in checks.items():
            name = f"{title} ({self._name})"
            try:
                result, detail = check()
            except RootstockError as error:
                result, detail = FAILED, str(error).partition("\n")[0]
            yield Check(name, result, detail)
            if result == FAILED and check == self._properties:
                return

    def _evaluate(self, atoms: Atoms) -> dict[str, Any]:
        copy = atoms.copy()
        copy.calc = self._calc
        energy = float(copy.get_potential_energy())
        results = {"energy": energy, "forces": np.array(copy.get_forces())}
        if self._has_stress(atoms):
            results["stress"] = np.array(copy.get_stress(), float)
        return results

    def _has_stress(self, atoms: Atoms) -> bool:
        return bool(atoms.pbc.all()) and "stress" in self._calc.implemented_properties

    def _energy(self, atoms: Atoms) -> float:
        return float(self._evaluate(atoms)["energy"])

    def _properties(self) -> tuple[str, str]:
        results = self._evaluate(self._atoms)
        single = results["forces"].dtype.itemsize < 8  # noqa: PLR2004  bytes of a float64
        if single or self._is_coarse(results["energy"]):
            self._precision = _SINGLE
        shapes = {"forces": (len(self._atoms), 3), "stress": (6,)}
        wrong = [n for n, shape in shapes.items() if n in results and results[n].shape != shape]
        infinite = [name for name, value in results.items() if not np.isfinite(value).all()]
        if wrong or infinite:
            return FAILED, f"wrong shape: {wrong}; not finite: {infinite}"
        return PASSED, f"{', '.join(results)}; energy {results['energy']:.6f} eV"

    def _is_coarse(self, energy: float) -> bool:
        """Tell if an energy is a single-precision number, whatever type it comes in."""
        return float(np.float32(energy)) == energy and energy != round(energy, 3)

    def _input_unchanged(self) -> tuple[str, str]:
        atoms = self._atoms.copy()
        atoms.calc = self._calc
        before = {name: array.copy() for name, array in atoms.arrays.items()}
        cell = atoms.cell.array.copy()
        atoms.get_forces()
        changed = [name for name, array in before.items() if (atoms.arrays[name] != array).any()]
        changed += ["cell"] if (atoms.cell.array != cell).any() else []
        changed += sorted(set(before) ^ set(atoms.arrays))
        return outcome(not changed), ", ".join(changed)

    def _repeats(self) -> tuple[str, str]:
        first = self._evaluate(self._atoms)
        other = self._atoms.copy()
        other.rattle(0.1, seed=2)
        self._evaluate(other)
        deviations, problems = compare_results(first, self._evaluate(self._atoms))
        tolerance = self._precision.forces_eV_per_A
        small = all(value <= tolerance for value in deviations.values())
        return outcome(small and not problems), "; ".join(
            [*problems, describe_deviations(deviations)]
        )

    def _translation(self) -> tuple[str, str]:
        moved = self._atoms.copy()
        moved.translate([0.31, -0.17, 0.23])
        return self._same_energy(moved)

    def _lattice_shift(self) -> tuple[str, str]:
        if not self._atoms.pbc.all():
            return NOT_APPLICABLE, "not periodic"
        moved = self._atoms.copy()
        moved.positions[0] += moved.cell.array[0]
        moved.positions[-1] -= moved.cell.array[2]
        return self._same_energy(moved)

    def _same_energy(self, moved: Atoms) -> tuple[str, str]:
        change = abs(self._energy(moved) - self._energy(self._atoms)) / len(moved)
        tolerance = self._precision.energy_eV_per_atom
        return outcome(change <= tolerance), (
            f"{change:.1e} eV per atom (tolerance {tolerance:.0e})"
        )

    def _forces(self) -> tuple[str, str]:
        forces = self._evaluate(self._atoms)["forces"]
        largest = np.argsort(np.abs(forces).ravel())[::-1][:_COMPONENTS]
        worst = 0.0
        for atom, axis in zip(*np.unravel_index(largest, forces.shape)):
            slope = self._slope(partial(_move, atom=atom, axis=axis), self._precision.step_A)
            worst = max(worst, self._error(float(forces[atom, axis]), -slope))
        tolerance = self._precision.forces_eV_per_A
        return outcome(worst <= tolerance), f"to {worst:.1e} eV/Å (tolerance {tolerance:.0e})"

    def _stress(self) -> tuple[str, str]:
        if not self._has_stress(self._atoms):
            return NOT_APPLICABLE, "no stress, or not periodic"
        stress = self._evaluate(self._atoms)["stress"]
        volume, natoms = self._atoms.get_volume(), len(self._atoms)
        worst = 0.0
        for voigt, (i, j) in enumerate(_STRAINS):
            slope = self._slope(partial(_strain, i=i, j=j), self._precision.step_strain)
            worst = max(worst, self._error(stress[voigt] * volume / natoms, slope / natoms))
        tolerance = self._precision.virial_eV_per_atom
        return outcome(worst <= tolerance), (
            f"to {worst:.1e} eV per atom (tolerance {tolerance:.0e})"
        )

    def _slope(self, change: Callable[[Atoms, float], None], step: float) -> float:
        """Return a derivative of the energy by central differences of fourth order.

        f'(x) = [8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))] / 12h + O(h^4)
        """
        energies = []
        for times in (-2, -1, 1, 2):
            atoms = self._atoms.copy()
            change(atoms, times * step)
            energies.append(self._energy(atoms))
        outer, inner = energies[3] - energies[0], energies[2] - energies[1]
        return (8 * inner - outer) / (12 * step)

    @staticmethod
    def _error(value: float, expected: float) -> float:
        return abs(value - expected) / (1 + abs(expected))


def _move(atoms: Atoms, by: float, *, atom: int, axis: int) -> None:
    atoms.positions[atom, axis] += by


def _strain(atoms: Atoms, by: float, *, i: int, j: int) -> None:
    strain = np.eye(3)
    strain[i, j] += by / 2
    strain[j, i] += by / 2
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
