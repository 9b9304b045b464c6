"""Everything that evaluates structures keeps to one protocol.

A session, an i-PI calculator, the direct call and a fake evaluate the same model: a worker runs it
from an environment file, ASE's i-PI client runs it in a thread, the fake calls it itself.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import os

import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.socketio import SocketClient, SocketClosed

from rootstock import IPICalculator
from rootstock.conformance.direct_call import DirectCall
from rootstock.environments.discovery import find_environment
from rootstock.errors import ModelError, PropertyMissingError
from rootstock.evaluation.evaluator import Evaluator
from rootstock.runtime.arguments import make_spec
from rootstock.runtime.session import Session
from rootstock.settings.root import Root
from rootstock.structures import from_atoms, to_atoms
from rootstock.testing import FakeEvaluator
from tests.support.environment_files import write_environment_file
from tests.support.fake_builds import add_fake_build
from tests.support.structures import copper
from tests.support.waiting import background

#: Springs to the origin. Structures beyond 100 Å are refused; other clients than ours can't raise,
#: so they return NaN.
MODEL = """
import numpy as np
from ase.calculators.calculator import Calculator

class Springs(Calculator):
    implemented_properties = ["energy", "free_energy", "forces", "stress"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if atoms.positions.max() > 100 and self.parameters.get("strict", True):
            raise RuntimeError("too far away")
        energy = float((atoms.positions**2).sum() / 2)
        if atoms.positions.max() > 100:
            energy = float("nan")
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": -atoms.positions,
            "stress": np.arange(6) * 0.01,
        }
"""
NAMESPACE: dict = {}
exec(MODEL, NAMESPACE)
Springs: type[Calculator] = NAMESPACE["Springs"]

KINDS = ["session", "direct call", "i-PI calculator", "fake"]


def springs(structure):
    """Return the results of the same model in this process."""
    calc = Springs()
    calc.calculate(to_atoms(structure), ["energy"], [])
    return calc.results


@contextlib.contextmanager
def ipi_calculator():
    """An i-PI calculator and ASE's client, which runs in a thread."""
    name = f"rootstock-evaluator-{os.getpid()}"

    with IPICalculator(unix=name, startup_timeout=10, timeout=10) as calc:
        client = SocketClient(unixsocket=name)

        def run():
            atoms = copper(1)
            atoms.calc = Springs(strict=False)
            try:
                client.run(atoms, use_stress=True)
            except (SocketClosed, OSError):  # closed before the first structure
                client.close()

        with background(run):
            yield calc
            calc.close()


@pytest.fixture
def spec(tmp_path):
    root = Root(tmp_path / "root")
    root.create()
    path = write_environment_file(root.writable.environments, name="springs", body=MODEL)
    path.write_text(path.read_text().replace("return None", "return Springs()"))
    add_fake_build(find_environment("springs", root), "build", lock="lock", current=True)
    spec = make_spec("springs", root=root, device="cpu", timeout=20, startup_timeout=60)
    return dataclasses.replace(spec, build="build")


@pytest.fixture(params=KINDS)
def evaluator(request, spec):
    with contextlib.ExitStack() as stack:
        if request.param == "i-PI calculator":
            yield stack.enter_context(ipi_calculator())
            return
        make = {
            "session": lambda: Session(spec),
            "direct call": lambda: DirectCall(spec, "cpu"),
            "fake": lambda: FakeEvaluator(springs, provenance={"model": "springs"}),
        }
        made_evaluator = make[request.param]()
        stack.callback(made_evaluator.close)
        yield made_evaluator


def structures(*shifts):
    """Return structures of the same species, moved by some Å."""
    moved = []
    for shift in shifts:
        atoms = copper(1)
        atoms.positions += shift
        moved.append(from_atoms(atoms))
    return moved


def energy(structure) -> float:
    return float((structure.positions**2).sum() / 2)


def test_results_come_in_order_and_in_ases_units(evaluator):
    asked = structures(0, 3, 1, 2)
    outcomes = list(evaluator.evaluate(asked, ["energy", "forces", "stress"]))
    assert len(outcomes) == 4
    for structure, results in zip(asked, outcomes):
        assert np.isclose(results["energy"], energy(structure), rtol=1e-12)
        assert np.allclose(results["forces"], -structure.positions, rtol=1e-12)
        assert np.allclose(results["stress"], np.arange(6) * 0.01, rtol=1e-12)


def test_results_of_a_structure_stay_as_they_were(evaluator):
    """They are no views of a buffer that the next evaluation overwrites."""
    asked = structures(0, 1, 2)
    outcomes = list(evaluator.evaluate(asked, ["forces"]))
    list(evaluator.evaluate(structures(7), ["forces"]))
    for structure, results in zip(asked, outcomes):
        assert np.allclose(results["forces"], -structure.positions, rtol=1e-12)


def test_structures_and_properties_may_be_any_iterables(evaluator):
    outcomes = evaluator.evaluate(iter(structures(1, 2)), iter(["energy", "forces"]))
    assert iter(outcomes) is outcomes
    assert all({"energy", "forces"} <= set(results) for results in outcomes)


def test_a_plain_string_names_one_property(evaluator):
    asked = structures(1, 2)
    outcomes = list(evaluator.evaluate(asked, "energy"))
    for structure, results in zip(asked, outcomes):
        assert np.isclose(results["energy"], energy(structure), rtol=1e-12)


def test_an_error_takes_the_place_of_its_results(evaluator):
    asked = structures(1, 200, 2, 300)
    good, bad, good_too, bad_too = evaluator.evaluate(asked, ["energy"])
    assert isinstance(bad, ModelError) and isinstance(bad_too, ModelError)
    assert str(bad)
    assert np.isclose(good["energy"], energy(asked[0]))
    assert np.isclose(good_too["energy"], energy(asked[2]))


def test_a_property_that_the_model_has_not(evaluator):
    """An error of each structure, and no results without what was asked for."""
    outcomes = list(evaluator.evaluate(structures(1, 2), iter(["energy", "charges"])))
    assert len(outcomes) == 2
    for outcome in outcomes:
        assert isinstance(outcome, PropertyMissingError)
        assert "charges" in str(outcome)
    (results,) = evaluator.evaluate(structures(1), ["energy"])
    assert "energy" in results


def test_no_structures_no_outcomes(evaluator):
    assert list(evaluator.evaluate([], ["energy"])) == []


def test_provenance_is_json(evaluator):
    provenance = evaluator.provenance
    if dataclasses.is_dataclass(provenance):
        provenance = provenance.as_dict()
    assert isinstance(provenance, dict) and provenance
    assert json.loads(json.dumps(provenance)).keys() == provenance.keys()


def test_close_may_be_called_twice_and_before_any_use(evaluator):
    evaluator.close()
    evaluator.close()


def test_close_after_an_evaluation(evaluator):
    assert len(list(evaluator.evaluate(structures(1), ["energy"]))) == 1
    if isinstance(evaluator, Session):
        assert evaluator.is_running
    evaluator.close()
    if isinstance(evaluator, Session):
        assert not evaluator.is_running
    evaluator.close()


@pytest.mark.parametrize("cls", [Session, DirectCall, IPICalculator, FakeEvaluator])
def test_each_has_the_protocols_methods(cls):
    for name in ("evaluate", "close"):
        expected = inspect.signature(getattr(Evaluator, name)).parameters
        assert list(inspect.signature(getattr(cls, name)).parameters) == list(expected)
    assert hasattr(cls, "provenance")


def test_a_session_reports_a_missing_property_as_such(spec):
    session = Session(spec)
    try:
        (outcome,) = session.evaluate(structures(1), ["energy", "charges", "magmoms"])
    finally:
        session.close()
    assert isinstance(outcome, PropertyMissingError)
    assert "charges, magmoms" in str(outcome)


def test_a_session_evaluates_as_structures_come(spec):
    """It takes the next structure after the results of the one before."""
    taken = []

    def source():
        for structure in structures(1, 2, 3):
            taken.append(structure)
            yield structure

    session = Session(spec)
    try:
        outcomes = session.evaluate(source(), ["energy"])
        assert not session.is_running
        next(outcomes)
        assert len(taken) == 1
        assert len(list(outcomes)) == 2
    finally:
        session.close()
