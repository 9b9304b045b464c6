"""The repeat noise is measured, and the direct call is compared within it."""

from __future__ import annotations

import numpy as np
import pytest

from rootstock.conformance.repeat_checks import check_against_direct_call
from rootstock.errors import ModelError, StartupError, WorkerDiedError
from rootstock.structures import from_atoms
from rootstock.testing import FakeEvaluator
from tests.support.structures import copper

STRUCTURES = [from_atoms(copper(1)), from_atoms(copper(2))]


def evaluator_of(results) -> FakeEvaluator:
    """Return an evaluator with a function of (structure, number of the call, previous structure)."""

    def of_structure(structure):
        previous = fake.calls[-2][0] if len(fake.calls) > 1 else None
        return results(structure, len(fake.calls) - 1, previous)

    fake = FakeEvaluator(of_structure)
    return fake


def exact(structure, count, previous):
    return {"energy": 1.0, "forces": structure.positions * -1.0}


def shifted(by):
    """Return results whose energy is off by `by` eV for four atoms and 8."""

    def results(structure, count, previous):
        return {**exact(structure, count, previous), "energy": 1.0 + by}

    return results


def noisy(structure, count, previous):
    return {**exact(structure, count, previous), "energy": 1.0 + 1e-6 * (count % 2)}


def with_memory(structure, count, previous):
    """Return an energy that depends on the previous structure, as with a stale neighbour list."""
    shift = 1e-6 if previous is not None and len(previous.positions) == 8 else 0.0
    return {**exact(structure, count, previous), "energy": 1.0 + shift}


def raising(error):
    def results(structure, count, previous):
        raise error

    return results


def check(worker, direct=exact, structures=STRUCTURES, properties=("energy", "forces")):
    evaluators = evaluator_of(worker), evaluator_of(direct)
    checks, noise = check_against_direct_call(
        lambda: evaluators[0], lambda: evaluators[1], structures, properties
    )
    assert evaluators[0].closed
    assert evaluators[1].closed or not evaluators[1].calls
    assert all(asked == tuple(properties) for fake in evaluators for _, asked in fake.calls)
    repeats, equals = checks
    assert repeats.name == "repeats itself"
    assert equals.name == "equals the direct call in the environment"
    return repeats, equals, noise


@pytest.mark.parametrize("structures", [STRUCTURES, STRUCTURES[:1]])
def test_a_model_that_repeats_itself_is_equal_bit_for_bit(structures):
    repeats, equals, noise = check(exact, structures=structures)
    assert noise == {"energy": 0.0, "forces": 0.0}
    assert repeats.passed and repeats.detail == "bit for bit"
    assert equals.passed and equals.detail == "bit for bit"


def test_without_noise_the_smallest_difference_fails():
    repeats, equals, noise = check(exact, shifted(np.spacing(1.0)))
    assert repeats.passed and not any(noise.values())
    assert equals.failed
    assert "energy to 5.6e-17 eV/atom" in equals.detail and "repeat noise: none" in equals.detail
    assert "forces" not in equals.detail


def test_within_the_noise_both_numbers_are_printed():
    repeats, equals, noise = check(noisy, shifted(1e-6))
    assert noise["energy"] == pytest.approx(1e-6 / 4) and noise["forces"] == 0
    assert repeats.passed and "in a row: energy to 2.5e-07 eV/atom" in repeats.detail
    assert equals.passed, equals
    assert equals.detail.count("e-07 eV/atom") == 2 and "repeat noise: energy" in equals.detail


def test_beyond_the_noise_it_fails():
    _, equals, _ = check(noisy, shifted(1e-4))
    assert equals.failed and "eV/atom (repeat noise: energy to 2.5e-07 eV/atom)" in equals.detail


def test_noise_counts_only_for_its_own_property():
    def wrong_forces(structure, count, previous):
        return {"energy": 1.0, "forces": structure.positions * -1.0 + 1e-12}

    _, equals, _ = check(noisy, wrong_forces)
    assert equals.failed and "forces to 1.0e-12 eV/Å" in equals.detail


@pytest.mark.parametrize("structures", [STRUCTURES, [STRUCTURES[1]]])
def test_the_effect_of_previous_structures_is_measured(structures):
    repeats, _, noise = check(with_memory, with_memory, structures)
    assert noise["energy"] > 0
    assert "after other structures: energy to" in repeats.detail


def test_a_model_with_a_memory_is_compared_in_the_same_state():
    _, equals, _ = check(with_memory, with_memory)
    assert equals.detail.startswith("bit for bit (repeat noise: energy")


@pytest.mark.parametrize("name", ["energy", "forces"])
def test_a_property_that_is_missing_on_one_side_fails(name):
    def without(structure, count, previous):
        results = exact(structure, count, previous)
        del results[name]
        return results

    _, equals, _ = check(exact, without, properties=())
    assert equals.failed and f"{name} is missing in the direct call" in equals.detail
    _, equals, _ = check(without, exact, properties=())
    assert equals.failed and f"{name} is missing in the worker" in equals.detail
    _, equals, _ = check(exact, without)  # asked for: an error of the evaluator
    assert equals.failed and f"returned no {name}" in equals.detail


def test_nan_is_not_equal_to_nan():
    def not_a_number(structure, count, previous):
        return {**exact(structure, count, previous), "charges": np.full(4, np.nan)}

    repeats, equals, _ = check(not_a_number, not_a_number)
    assert repeats.failed and "charges is NaN" in repeats.detail
    assert equals.failed and "charges is NaN" in equals.detail


def test_nothing_compared_is_a_failure():
    _, equals, _ = check(lambda *_: {"note": "text"}, lambda *_: {"note": "text"}, properties=())
    assert equals.failed and "no property was compared" in equals.detail


def test_fewer_results_are_a_failure():
    class Short(FakeEvaluator):
        def evaluate(self, structures, properties):
            yield from list(super().evaluate(structures, properties))[:-1]

    (_, equals), _ = check_against_direct_call(
        lambda: evaluator_of(exact), lambda: Short({"energy": 1.0}), STRUCTURES, ["energy"]
    )
    assert equals.failed and "1 of the direct call" in equals.detail


def test_errors_of_either_side_are_failures():
    repeats, equals, _ = check(raising(WorkerDiedError("it died")))
    assert repeats.failed and repeats.detail == "it died"
    assert equals.failed
    repeats, equals, _ = check(exact, raising(ModelError("no such element")))
    assert repeats.passed
    assert equals.failed and "no such element" in equals.detail


def test_an_evaluator_that_does_not_start_is_a_failure():
    def fail():
        raise StartupError("no interpreter")

    for starts in ((fail, lambda: evaluator_of(exact)), (lambda: evaluator_of(exact), fail)):
        checks, _ = check_against_direct_call(*starts, STRUCTURES, ["energy"])
        assert checks[1].failed
        assert any("no interpreter" in c.detail for c in checks)


def test_noise_beyond_rounding_is_no_repetition():
    def wild(structure, count, previous):
        return {**exact(structure, count, previous), "energy": 1.0 + (count > 0)}

    repeats, _, noise = check(wild)
    assert repeats.failed
    assert "energy differs by" in repeats.detail and "more than 2e-05 eV/atom" in repeats.detail
    assert noise["energy"] == 0.25


@pytest.mark.parametrize(("shift", "passed"), [(2e-6, True), (4e-6, False)])
def test_few_samples_underestimate_noise(shift, passed):
    """The noise of 1e-6 eV is allowed three times."""
    _, equals, _ = check(noisy, shifted(shift), structures=STRUCTURES[:1])
    assert equals.passed is passed
