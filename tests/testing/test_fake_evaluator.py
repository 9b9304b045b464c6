"""The fake evaluator: what it returns, checks and records. What all evaluators do is tested there."""

from __future__ import annotations

import numpy as np
import pytest

from rootstock.errors import (
    ModelError,
    PropertyMissingError,
    StartupError,
    StructureError,
    WorkerDiedError,
)
from rootstock.structures import from_atoms
from rootstock.testing import FakeEvaluator
from tests.support.structures import copper

SMALL, LARGE = from_atoms(copper(1)), from_atoms(copper(2))


def test_a_mapping_is_the_results_of_every_structure():
    given = {"energy": 1.5, "magmoms": np.zeros(4), "own": "text"}
    first, second = FakeEvaluator(given).evaluate([SMALL, LARGE], ["energy"])
    assert first.keys() == second.keys() == given.keys()
    first["magmoms"] += 1
    assert not second["magmoms"].any() and not given["magmoms"].any()


def test_a_function_gets_the_structure():
    evaluator = FakeEvaluator(lambda structure: {"energy": float(len(structure.positions))})
    outcomes = list(evaluator.evaluate([SMALL, LARGE], ["energy"]))
    assert [results["energy"] for results in outcomes] == [4.0, 8.0]


def test_calls_and_close_are_recorded():
    evaluator = FakeEvaluator({"energy": 1.0, "forces": np.zeros((4, 3))}, provenance={"a": 1})
    assert evaluator.provenance == {"a": 1} and FakeEvaluator({}).provenance == {"model": "fake"}
    outcomes = evaluator.evaluate(iter([SMALL, SMALL]), iter(["energy", "forces"]))
    assert evaluator.calls == []
    next(outcomes)
    ((structure, properties),) = evaluator.calls  # one structure after the other
    assert structure is SMALL and properties == ("energy", "forces")
    next(outcomes)
    list(evaluator.evaluate([LARGE], "energy"))
    assert [names for _, names in evaluator.calls[1:]] == [("energy", "forces"), ("energy",)]
    assert not evaluator.closed
    evaluator.close()
    assert evaluator.closed


@pytest.mark.parametrize(
    "error",
    [
        ModelError("no such element", "my.Error"),
        WorkerDiedError("it died", -9),
        PropertyMissingError("no charges"),
        StructureError("other species"),
    ],
)
def test_an_error_of_a_structure_is_its_outcome(error):
    def results(structure):
        if structure is SMALL:
            raise error
        return {"energy": 1.0}

    outcomes = list(FakeEvaluator(results).evaluate([SMALL, LARGE], ["energy"]))
    assert outcomes == [error, {"energy": 1.0}]


def test_other_exceptions_are_errors_of_the_model():
    def results(structure):
        raise KeyError("Na")

    (outcome,) = FakeEvaluator(results).evaluate([SMALL], ["energy"])
    assert isinstance(outcome, ModelError) and "KeyError: 'Na'" in str(outcome)
    assert outcome.remote_type == "builtins.KeyError"
    assert isinstance(outcome.__cause__, KeyError)


def test_an_error_of_the_whole_evaluation_is_raised():
    def results(structure):
        raise StartupError("no interpreter")

    with pytest.raises(StartupError, match="no interpreter"):
        list(FakeEvaluator(results).evaluate([SMALL], ["energy"]))


@pytest.mark.parametrize(
    ("results", "error", "text"),
    [
        ({"energy": float("nan")}, ModelError, "non-finite energy"),
        ({"energy": 0.0, "forces": np.zeros((5, 3))}, ModelError, "for 4 atoms"),
        ({"energy": 0.0}, PropertyMissingError, "no forces"),
    ],
)
def test_results_are_checked_as_those_of_a_worker(results, error, text):
    (outcome,) = FakeEvaluator(results).evaluate([SMALL], ["energy", "forces"])
    assert isinstance(outcome, error) and text in str(outcome)
