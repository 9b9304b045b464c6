"""Loading a model and calling it: each failure is a clear error, and the next call works."""

from __future__ import annotations

import os
import signal
import time

import ase.calculators.calculator as asecalc
import pytest

from rootstock.errors import (
    CallTimeoutError,
    ModelError,
    PropertyMissingError,
    SetupError,
    WorkerDiedError,
)
from tests.support.misbehaving import ask, works
from tests.support.structures import copper


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("probe-nonsense", "ValueError: no model 'nonsense'"),
        ("probe-none", "returned NoneType instead of an ASE calculator"),
        ("probe-number", "returned int instead of an ASE calculator"),
        ("probe-do-raise", "the model's own words"),
        ("probe-do-raise-oddly", "message can't be shown"),
    ],
)
def test_a_setup_that_fails_raises_each_time(make, model, message):
    atoms = copper()
    atoms.calc = make(model)
    for _ in range(2):
        with pytest.raises(SetupError, match=message) as caught:
            atoms.get_forces()
        assert model in str(caught.value)
        assert isinstance(caught.value, asecalc.CalculatorSetupError)
    assert "probe_env.py" in str(caught.value.__cause__) or "returned" in message


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("probe-do-exit-0", "ended with exit code 0"),
        ("probe-do-exit-7", "ended with exit code 7"),
        ("probe-do-sys.exit", "ended with exit code 3"),
        ("probe-do-SIGKILL", "SIGKILL"),
        ("probe-do-segfault", "SIGSEGV"),
        ("probe-do-helpers", "exit code 1"),
    ],
)
def test_a_death_during_the_start(make, model, message):
    with pytest.raises(WorkerDiedError, match=message) as caught:
        make(model).report
    assert "while it loaded the model" in str(caught.value)
    assert "loading do-" in caught.value.log_tail


def test_a_start_that_takes_too_long(make):
    calc = make("probe-do-sleep-60", startup_timeout=1)
    started = time.monotonic()
    with pytest.raises(CallTimeoutError, match="startup_timeout=1 s"):
        calc.report
    assert time.monotonic() - started < 10


def test_a_model_that_raises_leaves_its_worker_alive(misbehaving):
    pid = misbehaving.calc.report.pid
    with pytest.raises(ModelError, match="the model's own words") as caught:
        ask(misbehaving, "raise")
    assert isinstance(caught.value, asecalc.CalculationFailed)
    assert caught.value.remote_type == "builtins.RuntimeError"
    assert 'raise RuntimeError("the model\'s own words")' in str(caught.value.__cause__)
    assert works(misbehaving)
    assert misbehaving.calc.report.pid == pid


def test_a_property_that_the_model_refuses_while_it_runs(misbehaving):
    with pytest.raises(PropertyMissingError, match="not today"):
        ask(misbehaving, "missing")
    assert works(misbehaving)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ("exit-0", "exit code 0"),
        ("exit-9", "exit code 9"),
        ("sys.exit", "exit code 3"),
        ("SIGKILL", "SIGKILL .*memory"),
        ("SIGTERM", "SIGTERM"),
        ("segfault", "SIGSEGV"),
        ("helpers", "exit code 1"),
        ("close", "while it calculated"),
    ],
)
def test_a_worker_that_dies_says_how_and_the_next_call_works(misbehaving, action, message):
    started = time.monotonic()
    with pytest.raises(WorkerDiedError, match=message) as caught:
        ask(misbehaving, action)
    assert time.monotonic() - started < 8
    assert "loading misbehaving" in caught.value.log_tail
    assert "'probe-misbehaving'" in str(caught.value)
    if action.startswith("exit"):
        assert "last words on stdout" in str(caught.value)
    assert works(misbehaving)


def test_a_worker_killed_between_two_calls(misbehaving):
    os.kill(misbehaving.calc.report.pid, signal.SIGKILL)
    misbehaving.positions += 1
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        misbehaving.get_forces()
    assert works(misbehaving)


def test_a_timeout_stops_the_worker_and_the_next_call_works(make):
    atoms = copper()
    atoms.calc = make("probe-misbehaving", timeout=2)
    atoms.get_forces()
    for action in ("sleep-60", "SIGSTOP"):
        started = time.monotonic()
        with pytest.raises(CallTimeoutError, match="timeout=2 s") as caught:
            ask(atoms, action)
        assert isinstance(caught.value, TimeoutError)
        assert time.monotonic() - started < 8
        assert works(atoms)
