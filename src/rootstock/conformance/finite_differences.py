"""Derivatives of an energy by finite differences.

All are central differences of fourth order (B. Fornberg, Math. Comp. 51, 699 (1988), Table 1)::

    f'(0) = [8 (f(h) - f(-h)) - (f(2h) - f(-2h))] / 12h + O(h^4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

__all__ = ["derivative", "position_derivative", "strain_derivative"]

#: Axes of the strain components in Voigt order xx yy zz yz xz xy.
_VOIGT_AXES = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def derivative(function: Callable[[float], float], step: float) -> float:
    """Return the derivative of `function` at 0, from four values at ±`step` and ±2 `step`."""
    outer = function(2 * step) - function(-2 * step)
    inner = function(step) - function(-step)
    return (8 * inner - outer) / (12 * step)


def position_derivative(
    energy: Callable[[Atoms], float], atoms: Atoms, atom: int, axis: int, step_angstrom: float
) -> float:
    """Return the derivative of the energy (eV) by a coordinate, in eV/Å; minus the force.

    Parameters
    ----------
    energy : callable
        Returns the energy of Atoms in eV.
    atoms : Atoms
        The structure; not changed.
    atom, axis : int
        Index of the atom (from 0) and of the coordinate (0, 1, 2 for x, y, z).
    step_angstrom : float
        Displacement in Å.
    """

    def displaced(by: float) -> float:
        moved = atoms.copy()
        moved.positions[atom, axis] += by
        return energy(moved)

    return derivative(displaced, step_angstrom)


def strain_derivative(
    energy: Callable[[Atoms], float], atoms: Atoms, component: int, step: float
) -> float:
    """Return the derivative of the energy (eV) by a strain, in eV: volume times stress.

    Cell and atoms are strained together, symmetrically: a shear is half in each of xy and yx, so
    that the derivative is the stress in ASE's sign, positive under tension.

    Parameters
    ----------
    energy : callable
        Returns the energy of Atoms in eV.
    atoms : Atoms
        The structure; not changed.
    component : int
        0 to 5 for xx yy zz yz xz xy.
    step : float
        Strain, dimensionless.
    """
    i, j = _VOIGT_AXES[component]

    def strained(by: float) -> float:
        strain = np.eye(3)
        strain[i, j] += by / 2
        strain[j, i] += by / 2
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
        return energy(moved)

    return derivative(strained, step)
