"""Exceptions that a signal handler raises during a call, as Ctrl-C does: the next result is correct."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.misbehaving import ask, crashing, works
from tests.support.structures import copper, huge_structure

pytestmark = pytest.mark.usefixtures("no_temporary_files")

#: Seconds that a new worker takes at most.
PROMPT = 3.0


class Interrupted(Exception):
    """Raised by the handler of SIGALRM."""


@pytest.fixture
def alarm():
    """Return a function that interrupts the main thread after some seconds."""

    def interrupt(*_):
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("pause", ["sleep-0.5", "sleep-60"])
def test_an_interrupt_in_mid_call_keeps_both_sides_synchronised(
    misbehaving, alarm, monkeypatch, pause
):
    monkeypatch.setattr("rootstock.runtime.session._DISCARD", 2.0)
    pid = misbehaving.calc.report.pid
    alarm(0.2)
    with pytest.raises(Interrupted):
        ask(misbehaving, pause)
    assert works(misbehaving)
    if pause == "sleep-0.5":  # the pending reply was discarded, and the worker kept
        assert misbehaving.calc.report.pid == pid


def test_interrupts_at_any_moment_give_no_wrong_result(misbehaving, alarm):
    interrupted = 0
    try:
        for turn in range(150):
            misbehaving.positions += 0.01
            alarm(1e-5 * (1 + turn % 40))
            try:
                energy = ask(misbehaving, "")
            except Interrupted:
                interrupted += 1
                continue
            finally:
                alarm(0)
            assert energy == misbehaving.positions.sum()
    except Interrupted:  # between the call and the disarming
        interrupted += 1
    finally:
        alarm(0)
    assert interrupted
    assert works(misbehaving)


@pytest.mark.parametrize("timeout", [None, 30])
def test_an_interrupt_in_the_middle_of_a_write(make, alarm, timeout):
    calc = make("probe-null", timeout=timeout)
    large = huge_structure()
    calc.get_potential_energy(large)
    os.kill(calc.report.pid, signal.SIGSTOP)
    large.positions += 0.1
    alarm(0.3)
    with pytest.raises(Interrupted):
        calc.get_potential_energy(large)
    started = time.monotonic()
    assert calc.get_potential_energy(large) == 0.0
    assert time.monotonic() - started < 2 * PROMPT


@pytest.mark.parametrize("timeout", [None, 30])
def test_an_interrupt_in_the_middle_of_a_read(make, alarm, timeout):
    calc = crashing(make, "half a reply, then nothing", "2", timeout=timeout)
    structure = copper(1)
    calc.get_forces(structure)
    structure.positions += 0.1
    alarm(0.3)
    with pytest.raises(Interrupted):
        calc.get_forces(structure)
    started = time.monotonic()
    assert calc.get_forces(structure).shape == (4, 3)
    assert time.monotonic() - started < 2 * PROMPT
