"""Results are compared property by property; a missing or NaN property is named as a problem."""

from __future__ import annotations

import numpy as np
import pytest

from rootstock.evaluation.comparison import compare_results, describe_deviations, merge_largest

FORCES = np.arange(6.0).reshape(2, 3)


def deviations(first, second):
    result, problems = compare_results(first, second, 2)
    assert problems == []
    return result


def test_equal_bits_deviate_by_zero():
    results = {"energy": -1.5, "forces": FORCES, "charges": np.zeros(2, np.float32), "n": 3}
    assert deviations(results, dict(results)) == dict.fromkeys(results, 0.0)


def test_energies_are_compared_per_atom_and_the_rest_in_ases_units():
    moved = FORCES.copy()
    moved[1, 2] -= 0.25
    first = {"energy": 1.0, "free_energy": 2.0, "forces": FORCES, "stress": np.zeros(6)}
    second = {"energy": 1.5, "free_energy": 1.0, "forces": moved, "stress": np.full(6, 0.125)}
    result = deviations(first, second)
    assert result == {"energy": 0.25, "free_energy": 0.5, "forces": 0.25, "stress": 0.125}
    text = describe_deviations(result)
    assert "energy to 2.5e-01 eV/atom" in text
    assert "forces to 2.5e-01 eV/Å," in text
    assert "stress to 1.2e-01 eV/Å³" in text


def test_the_sign_of_a_zero_is_a_bit():
    result = deviations({"energy": 0.0}, {"energy": -0.0})
    assert 0 < result["energy"] < 1e-300
    assert describe_deviations(result) != "bit for bit"


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("name", "first", "second", "problem"),
    [
        ("forces", FORCES, None, "missing"),
        ("magmoms", np.ones(2), None, "missing"),
        ("crystal_fea", np.ones(64), None, "missing"),
        ("energy", np.nan, 1.0, "NaN"),
        ("energy", np.nan, np.nan, "NaN"),
        ("forces", np.full((2, 3), np.nan), np.full((2, 3), np.nan), "NaN"),
        ("forces", np.full((2, 3), np.nan), FORCES, "NaN"),
        ("crystal_fea", np.array([1.0, np.nan]), np.array([1.0, 2.0]), "NaN"),
        ("stress", np.full(6, np.inf), np.full(6, np.inf), "not finite"),
        ("crystal_fea", np.full(6, np.inf), np.ones(6), "not finite"),
        ("stress", np.zeros(6), np.zeros((3, 3)), "shape"),
        ("energy", np.float32(1.5), np.float64(1.5), "dtype"),
        ("energy", "low", 1.0, "not numeric"),
        ("energy", "low", "low", "not numeric"),
        ("forces", [[1.0], [1.0, 2.0]], FORCES, "not numeric"),
    ],
)
def test_problems_name_the_property(name, first, second, problem, swapped):
    sides = [{"volume": 1.0}, {"volume": 1.0}]
    for side, value in zip(sides, (first, second)):
        if value is not None:
            side[name] = value
    result, problems = compare_results(*(reversed(sides) if swapped else sides), 2)
    (text,) = problems
    assert text.startswith(f"{name} ") and problem in text
    assert result == {"volume": 0.0}


def test_the_side_is_named():
    _, problems = compare_results({}, {"energy": 1.0}, 2, ("the worker", "the direct call"))
    assert problems == ["energy is missing in the worker"]


def test_other_values_are_not_compared():
    first = {"note": "text", "changes": ["positions"], "infinite": np.array([np.inf])}
    second = {"changes": ["cell"], "infinite": np.array([np.inf])}
    assert deviations(first, second) == {"infinite": 0.0}


def test_the_largest_deviations_are_kept():
    target = {"energy": 1.0, "forces": 0.0}
    merge_largest(target, {"energy": 0.5, "forces": 2.0, "stress": 0.0})
    assert target == {"energy": 1.0, "forces": 2.0, "stress": 0.0}
