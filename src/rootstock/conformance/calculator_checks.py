"""Checks of any ASE calculator: properties that hold for every potential."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from ..errors import RootstockError
from ..evaluation.comparison import compare_results, describe_deviations, deviation_unit
from ..protocol.values import encode_info
from .check import FAILED, NOT_APPLICABLE, PASSED, Check, outcome
from .finite_differences import position_derivative, strain_derivative

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ase import Atoms
    from ase.calculators.calculator import Calculator


__all__ = ["check_calculator"]

#: Number of force components that are compared: the largest ones.
_COMPONENTS = 4


@dataclass(frozen=True)
class Precision:
    """Steps of finite differences and tolerances that fit a number format.

    Attributes
    ----------
    step_angstrom : float
        Displacement of an atom.
    step_strain : float
        Strain, dimensionless.
    energy_ev_per_atom : float
        Tolerance of an energy.
    forces_ev_per_angstrom : float
        Tolerance of a force component; above 1 eV/Å, relative to the component.
    virial_ev_per_atom : float
        Tolerance of volume times stress; above 1 eV/atom, relative to it. Divided by the volume
        per atom it is the tolerance of the stress, in eV/Å³.
    """

    step_angstrom: float
    step_strain: float
    energy_ev_per_atom: float
    forces_ev_per_angstrom: float
    virial_ev_per_atom: float


_SINGLE = Precision(2e-2, 2e-3, 2e-5, 2e-2, 2e-2)
_DOUBLE = Precision(2e-3, 2e-4, 1e-8, 1e-3, 1e-3)


def check_calculator(
    calc: Calculator, atoms: Atoms, noise: Optional[Mapping[str, float]] = None
) -> list[Check]:
    """Check an ASE calculator on one structure.

    Properties are present, finite and of the right shape; the input is not changed; results
    repeat; translations and shifts by a lattice vector keep the energy; forces and stress are the
    derivatives of the energy, within what the model's number format allows.

    Parameters
    ----------
    calc : Calculator
        A calculator with energy and forces.
    atoms : Atoms
        The structure, not at a stationary point; it is not changed.
    noise : mapping of str to float, optional
        Deviations between evaluations of one structure, by property: eV/atom for energies, ASE's
        unit for others. Three times these are added to the tolerances of repeated energies.

    Returns
    -------
    list of Check
        The outcome of each check; only the first one if the properties are invalid.
    """
    return list(_Subject(calc, atoms, noise or {}).checks())


class _Subject:
    """A calculator and the structure that it is checked on."""

    def __init__(self, calc: Calculator, atoms: Atoms, noise: Mapping[str, float]) -> None:
        self._noise = noise
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
        """Return whether an energy has only single precision, whatever its type."""
        return float(np.float32(energy)) == energy and energy != round(energy, 3)

    def _input_unchanged(self) -> tuple[str, str]:
        atoms = self._atoms.copy()
        atoms.rattle(0.01, seed=3)  # another structure: cached results would not touch the input
        atoms.calc = self._calc
        before = _inputs(atoms)
        atoms.get_forces()
        after = _inputs(atoms)
        names = sorted({*before, *after})
        changed = [name for name in names if before.get(name) != after.get(name)]
        return outcome(not changed), f"changed: {', '.join(changed)}" if changed else ""

    def _repeats(self) -> tuple[str, str]:
        first = self._evaluate(self._atoms)
        other = self._atoms.copy()
        other.rattle(0.1, seed=2)
        self._evaluate(other)
        second = self._evaluate(self._atoms)
        deviations, problems = compare_results(first, second, len(self._atoms))
        for name, value in deviations.items():
            tolerance = self._repeat_tolerance(name)
            if not value <= tolerance:
                unit = deviation_unit(name)
                problems.append(f"{name} differs by more than {tolerance:.0e} {unit}")
        return outcome(not problems), "; ".join([*problems, describe_deviations(deviations)])

    def _repeat_tolerance(self, name: str) -> float:
        """Return the tolerance of energy (eV/atom), forces (eV/Å) or stress (eV/Å³)."""
        precision, noise = self._precision, 3 * self._noise.get(name, 0.0)
        if name == "energy":
            return noise + precision.energy_ev_per_atom
        if name == "forces":
            return noise + precision.forces_ev_per_angstrom
        volume_per_atom = float(self._atoms.get_volume()) / len(self._atoms)
        return noise + precision.virial_ev_per_atom / volume_per_atom

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
        return _within(change, self._repeat_tolerance("energy"), "eV/atom")

    def _forces(self) -> tuple[str, str]:
        forces = self._evaluate(self._atoms)["forces"]
        largest = np.argsort(np.abs(forces).ravel())[::-1][:_COMPONENTS]
        step = self._precision.step_angstrom
        errors = []
        for atom, axis in zip(*np.unravel_index(largest, forces.shape)):
            slope = position_derivative(self._energy, self._atoms, atom, axis, step)
            errors.append(_error(float(forces[atom, axis]), -slope))
        # np.max keeps a NaN, which fails every tolerance; Python's max() may drop it
        return _within(np.max(errors), self._precision.forces_ev_per_angstrom, "eV/Å")

    def _stress(self) -> tuple[str, str]:
        if not self._atoms.pbc.all():
            return NOT_APPLICABLE, "not periodic"
        if not self._has_stress(self._atoms):
            return NOT_APPLICABLE, "the model has no stress"
        stress = self._evaluate(self._atoms)["stress"]
        volume_per_atom = self._atoms.get_volume() / len(self._atoms)
        step = self._precision.step_strain
        errors = []
        for component in range(6):
            slope = strain_derivative(self._energy, self._atoms, component, step)
            virial = float(stress[component]) * volume_per_atom
            errors.append(_error(virial, slope / len(self._atoms)))
        tolerance = self._precision.virial_ev_per_atom
        return _within(np.max(errors) / volume_per_atom, tolerance / volume_per_atom, "eV/Å³")


def _inputs(atoms: Atoms) -> dict[str, object]:
    """Return all inputs of a calculation as values that can be compared, NaN included."""
    inputs = {name: (a.dtype, a.shape, a.tobytes()) for name, a in atoms.arrays.items()}
    others = {"cell": atoms.cell.array.tobytes(), "pbc": atoms.pbc.tobytes()}
    return {**inputs, **others, "info": encode_info(atoms.info)}


def _error(value: float, expected: float) -> float:
    """Return the absolute error of a small value, the relative error of a large one."""
    return abs(value - expected) / (1 + abs(expected))


def _within(error: float, tolerance: float, unit: str) -> tuple[str, str]:
    """Return outcome and detail; NaN fails every tolerance."""
    return outcome(error <= tolerance), f"{error:.1e} {unit} (tolerance {tolerance:.0e} {unit})"
