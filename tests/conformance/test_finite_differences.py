"""Derivatives by finite differences, against analytical ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ase.calculators.lj import LennardJones

from rootstock.conformance.finite_differences import (
    derivative,
    position_derivative,
    strain_derivative,
)
from tests.support.structures import copper


def test_the_error_is_of_fourth_order():
    errors = [abs(derivative(lambda x: math.exp(1 + x), h) - math.e) for h in (0.2, 0.1)]
    assert 15 < errors[0] / errors[1] < 17
    assert derivative(lambda x: x**4 + 3 * x, 0.5) == pytest.approx(3, abs=1e-12)


def test_forces_and_stress_of_a_pair_potential():
    atoms = copper(1)
    calc = LennardJones(sigma=2.3, epsilon=0.4, rc=5.0, smooth=True)

    def energy(moved) -> float:
        return calc.get_potential_energy(moved)

    forces, stress = calc.get_forces(atoms), calc.get_stress(atoms)
    for atom, axis in ((0, 0), (3, 2)):
        slope = position_derivative(energy, atoms, atom, axis, 1e-3)
        assert -slope == pytest.approx(forces[atom, axis], rel=1e-6)
    slopes = [strain_derivative(energy, atoms, component, 1e-4) for component in range(6)]
    np.testing.assert_allclose(np.array(slopes) / atoms.get_volume(), stress, rtol=1e-6, atol=1e-9)
