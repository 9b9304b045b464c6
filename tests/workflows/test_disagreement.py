"""How far models are from each other: numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rootstock.workflows.disagreement import (
    align_energies,
    error_statistics,
    force_disagreement,
    mean_forces,
    pair_differences,
)

NAN = float("nan")
COPPER, SALT = np.array([29]), np.array([11, 17])


def test_pairs():
    # two structures, of 1 and 2 atoms; three models, of which the last lacks the second structure
    first = np.array([[[0.0, 0, 0]], [[3, 4, 0]], [[0, 0, 1]]])
    second = np.array([np.zeros((2, 3)), [[1, 0, 0], [0, 2, 0]], np.full((2, 3), NAN)])
    per_structure, total = pair_differences([first, second])
    assert per_structure[0, 0, 1] == pytest.approx(5)
    assert per_structure[0, 1, 2] == pytest.approx(np.sqrt(9 + 16 + 1))
    assert per_structure[1, 0, 1] == pytest.approx(np.sqrt((1 + 4) / 2))
    assert np.isnan(per_structure[1, 0, 2])
    assert total[0, 1] == pytest.approx(np.sqrt((25 + 1 + 4) / 3))
    assert total[0, 2] == pytest.approx(1)
    np.testing.assert_array_equal(total, total.T)


def test_models_without_a_common_structure_have_no_difference():
    alone = np.array([[[1.0, 0, 0]], [[NAN] * 3]])
    _, total = pair_differences([alone, alone[::-1]])
    assert np.isnan(total[0, 1]) and total[0, 0] == 0


def test_disagreement_is_the_committees():
    forces = np.array([[[0.0, 0, 0]], [[2, 0, 0]], [[4, 0, 0]]])
    np.testing.assert_allclose(force_disagreement(forces), [np.sqrt(8 / 3)])
    forces[1] = NAN  # of the models that have forces
    np.testing.assert_allclose(force_disagreement(forces), [2])
    forces[2] = NAN
    assert np.isnan(force_disagreement(forces)).all()


def test_mean_forces_are_those_of_all_models_that_ran():
    known = np.array([[[0.0, 0, 0]], [[2, 0, 0]], [[NAN] * 3]])
    np.testing.assert_allclose(mean_forces([known], [0, 1])[0], [[1, 0, 0]])
    assert np.isnan(mean_forces([known], [0, 1, 2])[0]).all()
    assert np.isnan(mean_forces([known], [0])[0]).all()


def test_statistics():
    forces = [np.array([[1.0, 2, 2]]), np.full((1, 3), NAN)]
    target = [np.array([[0.0, 2, 4]]), np.ones((1, 3))]
    statistics = error_statistics(forces, target, np.array([0.3, -0.4, NAN]))
    assert statistics.forces_mae_eV_per_A == pytest.approx(1)
    assert statistics.forces_rmse_eV_per_A == pytest.approx(np.sqrt(5 / 3))
    assert statistics.force_components == 3
    assert statistics.energy_mae_eV_per_atom == pytest.approx(0.35)
    assert statistics.energy_rmse_eV_per_atom == pytest.approx(np.sqrt((0.09 + 0.16) / 2))
    assert statistics.energies == 2


def test_shifts_per_element_disappear():
    numbers = [COPPER, COPPER, np.array([29, 29]), np.array([11, 29]), np.array([11])]
    base = np.array([1.0, 1.1, 2.0, 3.0, 0.5])
    counts = np.array([[1, 0], [1, 0], [2, 0], [1, 1], [0, 1]])
    energies = np.array([base, base + counts @ [-3.0, 7.0]])
    compared = align_energies(["a", "b"], energies, numbers)
    assert compared.scheme == "per element" and compared.target == "mean"
    np.testing.assert_allclose(compared.deviations_eV_per_atom, 0, atol=1e-12)
    shifts = compared.alignment["shifts_eV"]  # elements rise: Na, Cu
    np.testing.assert_allclose(shifts, [[-3.5, 1.5], [3.5, -1.5]], atol=1e-12)


def test_a_reference_has_a_scale_of_its_own_too():
    numbers = [COPPER] * 3
    reference = np.array([-100.0, -100.2, -100.4])
    energies = np.array([[1.0, 0.8, 0.9]])
    compared = align_energies(["a"], energies, numbers, reference)
    difference = energies[0] - reference
    assert compared.target == "reference"
    np.testing.assert_allclose(
        compared.deviations_eV_per_atom[0], difference - difference.mean(), atol=1e-12
    )


def test_compositions_that_cannot_tell_elements_apart_are_compared_within_themselves():
    numbers = [SALT, SALT, COPPER, COPPER, np.array([29, 29])]
    energies = np.array([[1.0, 3, 5, 5.5, 9], [11.0, 14, 25, 25.5, 0]])
    compared = align_energies(["a", "b"], energies, numbers)
    assert compared.scheme == "per composition"
    assert "can't tell 3 elements apart (rank 2)" in compared.explanation
    # salt: -1, 1 and -1.5, 1.5 around their means; copper: equal differences
    np.testing.assert_allclose(compared.deviations_eV_per_atom[0, :4], [0.125, -0.125, 0, 0])
    np.testing.assert_allclose(compared.deviations_eV_per_atom[1, :4], [-0.125, 0.125, 0, 0])
    assert np.isnan(compared.deviations_eV_per_atom[:, 4]).all()  # the only one of Cu2


def test_too_few_structures_for_any_comparison():
    compared = align_energies(["a", "b"], np.array([[1.0], [2.0]]), [COPPER])
    assert compared.scheme == "none"
    compared = align_energies(["a", "b"], np.array([[1.0, NAN], [NAN, 2.0]]), [COPPER, COPPER])
    assert compared.scheme == "none" and "no structure has an energy" in compared.explanation


def test_a_model_without_energies_is_left_out():
    energies = np.array([[1.0, 2.0, 3.0], [NAN] * 3, [1.0, 2.0, 4.5]])
    compared = align_energies(["a", "b", "c"], energies, [COPPER] * 3)
    assert np.isnan(compared.deviations_eV_per_atom[1]).all()
    np.testing.assert_allclose(compared.deviations_eV_per_atom[2], [-0.25, -0.25, 0.5])
