"""The direct call: one structure's failure costs no other one its results."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rootstock.conformance import direct_call as module
from rootstock.conformance.direct_call import DirectCall
from rootstock.errors import ModelError, PropertyMissingError, StartupError, WorkerDiedError
from rootstock.runtime.arguments import make_spec
from rootstock.structures import from_atoms
from rootstock.support.processes import ChildProcess
from rootstock.testing import fake_environment
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import PROBE
from tests.support.structures import copper


@pytest.fixture
def make_direct_call(tmp_path):
    """Return a function that makes a direct call of a model of some environment file."""

    def make(argument: str, text: str = fake_environment().read_text(), **options) -> DirectCall:
        root = root_with_fake_build(tmp_path, "fake", text)
        spec = make_spec(f"fake-{argument}", root=root, device="cpu", **options)
        return DirectCall(dataclasses.replace(spec, build="build"), "cpu")

    return make


@pytest.fixture
def processes(monkeypatch) -> list:
    """The processes that were started."""
    started = []

    class Counted(ChildProcess):
        def __init__(self, *arguments, **options):
            started.append(self)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(module, "ChildProcess", Counted)
    return started


def structures(*requests):
    """Return structures whose model does what is asked, each at other positions."""
    made = []
    for number, request in enumerate(requests):
        atoms = copper(1)
        atoms.positions += number
        atoms.info["do"] = request
        made.append(from_atoms(atoms))
    return made


def test_a_process_that_dies_loses_one_structure(make_direct_call, processes):
    direct = make_direct_call("misbehaving")
    asked = structures("", "exit-3", "", "SIGKILL", "")
    outcomes = list(direct.evaluate(asked, ["energy", "forces"]))
    alone = list(direct.evaluate(structures("", "", "", "", ""), ["energy", "forces"]))
    assert len(outcomes) == 5 and len(processes) == 3 + 1
    for number in (0, 2, 4):
        assert outcomes[number]["energy"] == alone[number]["energy"]
        assert np.array_equal(outcomes[number]["forces"], alone[number]["forces"])
    for number, status, text in ((1, 3, "exit code 3"), (3, -9, "killed by SIGKILL")):
        error = outcomes[number]
        assert isinstance(error, WorkerDiedError) and error.returncode == status
        assert text in str(error) and "while it calculated" in str(error)


@pytest.mark.parametrize("requests", [["exit-3"], ["exit-0", "exit-1"], ["", "SIGSEGV"]])
def test_the_first_and_the_last_may_die(make_direct_call, processes, requests):
    outcomes = list(make_direct_call("misbehaving").evaluate(structures(*requests), ["energy"]))
    assert len(outcomes) == len(requests)
    assert len(processes) == (1 if len(requests) == 1 or requests[0] == "" else 2)
    for request, outcome in zip(requests, outcomes):
        assert isinstance(outcome, WorkerDiedError if request else dict)


def test_an_error_of_the_model_needs_no_other_process(make_direct_call, processes):
    asked = structures("raise", "", "nan", "")
    raised, good, nan, good_too = make_direct_call("misbehaving").evaluate(asked, ["energy"])
    assert len(processes) == 1
    assert isinstance(raised, ModelError) and raised.remote_type == "builtins.RuntimeError"
    assert str(raised) == "RuntimeError: the fake model raised on request"
    assert "in misbehave" in str(raised.__cause__)
    assert isinstance(nan, ModelError) and "non-finite forces" in str(nan)
    assert isinstance(good, dict) and isinstance(good_too, dict)


def test_a_missing_property_is_reported_as_such(make_direct_call):
    (outcome,) = make_direct_call("reference").evaluate(structures(""), ["energy", "charges"])
    assert isinstance(outcome, PropertyMissingError)
    assert "charges" in str(outcome)


def test_an_error_that_cannot_be_shown(make_direct_call):
    direct = make_direct_call("misbehaving", PROBE.read_text())
    odd, good = direct.evaluate(structures("raise-oddly", ""), ["energy"])
    assert isinstance(odd, ModelError) and "can't be shown: ValueError" in str(odd)
    assert isinstance(good, dict)


def test_helper_processes_that_outlive_the_model_are_not_waited_for(make_direct_call):
    direct = make_direct_call("misbehaving", PROBE.read_text())
    died, good = direct.evaluate(structures("helpers", ""), ["energy"])
    assert isinstance(died, WorkerDiedError) and died.returncode == 1
    assert isinstance(good, dict)


@pytest.mark.parametrize(
    ("misbehaviour", "text"),
    [("exit-3", "exit code 3"), ("raise", "RuntimeError: the fake model raised")],
)
def test_a_model_that_does_not_load_is_a_startup_error(make_direct_call, misbehaviour, text):
    direct = make_direct_call("reference", setup_kwargs={"misbehaviour": misbehaviour})
    with pytest.raises(StartupError, match=text) as caught:
        list(direct.evaluate(structures("", ""), ["energy"]))
    assert not isinstance(caught.value, WorkerDiedError)
    assert "while it loaded the model" in str(caught.value)


def test_half_an_answer_is_none(make_direct_call, processes):
    """A process that dies while it writes: only whole lines count."""
    text = fake_environment().read_text()
    cut = 'os.write(int(sys.argv[1]), b"{"); os._exit(int(request.partition("-")[2]))'
    assert 'os._exit(int(request.partition("-")[2]))' in text
    text = text.replace('os._exit(int(request.partition("-")[2]))', cut)
    good, died, good_too = make_direct_call("misbehaving", text).evaluate(
        structures("", "exit-3", ""), ["energy"]
    )
    assert isinstance(died, WorkerDiedError)
    assert isinstance(good, dict) and isinstance(good_too, dict)
