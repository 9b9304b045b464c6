"""Crashes: each failure in each phase, with the error message and the time until it appears.

The fixtures of conftest.py fail every test here that leaves a process or a descriptor behind.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from rootstock.errors import CallTimeoutError, ModelError, SetupError, WorkerDiedError
from tests.support.misbehaving import crashing
from tests.support.structures import copper, huge_structure

pytestmark = pytest.mark.usefixtures("no_temporary_files")

#: Failures, and the text of the error. None: the call never ends, so a limit on time has to end it.
DEATHS = {
    "exit 0": "ended with exit code 0",
    "exit 1": "ended with exit code 1",
    "os._exit": "ended with exit code 3",
    "SIGSEGV": "was killed by SIGSEGV",
    "SIGKILL": "was killed by SIGKILL",
    "dozen helpers": "ended with exit code 1",
    "half a reply": "ended with exit code 0",
    "half a reply, then nothing": None,
    "garbage": "which is not a reply",
    "close socket": None,
    "SIGSTOP": None,
    "loop": None,
    "stdout": None,
}
#: Failures that raise an exception, and the text of the error.
RAISED = {
    "raise": "RuntimeError: the model's own words",
    "memory": "MemoryError",
}
#: Invalid results, and the text of the error.
SPOILED = {
    "atoms": r"forces of shape \(5, 3\) and type float64 for 4 atoms",
    "nan": "non-finite forces: .* for atom 0, one of 4",
    "nan energy": "returned a non-finite energy: nan",
    "nan free energy": "returned a non-finite free energy: nan",
    "dtype": "forces of shape .* and type complex128",
    "text": "energy of shape",
    "stress": r"stress of shape \(5,\)",
}
#: Seconds until an error appears.
PROMPT = 3.0
#: The limit on time for calls that never end, in seconds.
LIMIT = 1.5


def check_error(failure, error, seconds):
    """Check the text of the error, and the time until it appeared."""
    text = DEATHS[failure]
    assert seconds < PROMPT + (LIMIT if text is None else 0)
    message = str(error.value)
    assert "probe-crash" in message
    assert "next call starts another" in message
    if text is None:
        assert isinstance(error.value, (CallTimeoutError, WorkerDiedError)), error.value
    else:
        assert isinstance(error.value, WorkerDiedError)
        assert text in message
    if failure not in ("stdout", "SIGSEGV"):
        assert f"these are my last words: {failure}" in message
    assert len(message) < 10_000  # the tail of a log, not all of it


@pytest.mark.parametrize("when", ["1", "100"])
@pytest.mark.parametrize("failure", DEATHS)
def test_deaths_in_a_call(make, failure, when):
    calc = crashing(make, failure, when, timeout=LIMIT)
    calc.report
    structure = copper(1)
    for _ in range(int(when) - 1):
        structure.positions += 1e-3
        calc.get_forces(structure)
    structure.positions += 1e-3
    started = time.monotonic()
    with pytest.raises((WorkerDiedError, CallTimeoutError)) as error:
        calc.get_forces(structure)
    check_error(failure, error, time.monotonic() - started)
    if when == "100":  # with "1" the next worker's first call is its last one
        assert calc.get_forces(structure).shape == (4, 3)


@pytest.mark.parametrize("failure", DEATHS)
def test_deaths_in_setup(make, failure):
    calc = crashing(make, failure, "setup", startup_timeout=LIMIT)
    for _ in range(2):  # the second error names its own cause
        started = time.monotonic()
        with pytest.raises((WorkerDiedError, CallTimeoutError)) as error:
            calc.get_forces(copper(1))
        check_error(failure, error, time.monotonic() - started)


@pytest.mark.parametrize("failure", DEATHS)
def test_deaths_in_the_import(make, failure, monkeypatch):
    calc = crashing(make, failure, "never", startup_timeout=LIMIT)
    monkeypatch.setenv("PROBE_AT_IMPORT", failure)
    started = time.monotonic()
    with pytest.raises((WorkerDiedError, CallTimeoutError)) as error:
        calc.get_forces(copper(1))
    check_error(failure, error, time.monotonic() - started)
    monkeypatch.delenv("PROBE_AT_IMPORT")
    assert calc.get_forces(copper(1)).shape == (4, 3)


@pytest.mark.parametrize("failure", [*DEATHS, *RAISED])
def test_any_failure_while_the_worker_ends(make, failure):
    calc = crashing(make, failure, "close")
    calc.get_forces(copper(1))
    started = time.monotonic()
    calc.close()
    assert time.monotonic() - started < 3 + PROMPT  # a worker gets three seconds to end
    calc = make("probe-null")
    assert calc.get_forces(copper(1)).shape == (4, 3)


def test_a_worker_that_does_not_read(make):
    """It is stopped between two calls, so the next write does not end."""
    calc = make("probe-null", timeout=LIMIT)
    pid = calc.report.pid
    large = huge_structure()
    calc.get_potential_energy(large)
    os.kill(pid, signal.SIGSTOP)
    large.positions += 0.1
    started = time.monotonic()
    with pytest.raises(CallTimeoutError, match=r"timeout=1\.5 s"):
        calc.get_potential_energy(large)
    assert time.monotonic() - started < LIMIT + PROMPT
    assert calc.get_potential_energy(large) == 0.0


@pytest.fixture
def _ignored_children():
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    signal.signal(signal.SIGCHLD, previous)


@pytest.mark.usefixtures("_ignored_children")
def test_a_caller_that_ignores_its_children(make):
    """The kernel keeps no exit status then, so the error has none. The worker itself ignores no signal."""
    calc = make("probe-misbehaving")
    structure = copper(1)
    structure.info["do"] = "false"
    calc.get_potential_energy(structure)
    masks = Path(f"/proc/{calc.report.pid}/status").read_text()
    assert re.search(r"SigBlk:\s+0+\n", masks)
    structure.info["do"] = "exit-1"
    with pytest.raises(WorkerDiedError, match="stopped answering while it calculated") as error:
        calc.get_potential_energy(structure)
    assert error.value.returncode is None
    structure.info["do"] = ""
    calc.get_potential_energy(structure)
    calc.close()


@pytest.mark.parametrize("failure", RAISED)
@pytest.mark.parametrize("when", ["import", "setup", "1", "100"])
def test_exceptions(make, failure, when, monkeypatch):
    calc = crashing(make, failure, when)
    if when == "import":
        monkeypatch.setenv("PROBE_AT_IMPORT", failure)
    structure = copper(1)
    kind = SetupError if when in ("import", "setup") else ModelError
    if when == "100":
        for _ in range(99):
            structure.positions += 1e-3
            calc.get_forces(structure)
        structure.positions += 1e-3
    with pytest.raises((kind, WorkerDiedError), match=RAISED[failure].partition(":")[0]) as error:
        calc.get_forces(structure)
    assert "probe-crash" in str(error.value) or RAISED[failure] in str(error.value)
    if when in ("1", "100"):
        pid = calc.report.pid
        structure.positions += 1e-3
        assert calc.get_forces(structure).shape == (4, 3)  # of the same worker
        assert calc.report.pid == pid


@pytest.mark.parametrize("failure", SPOILED)
@pytest.mark.parametrize("when", ["1", "100"])
def test_results_that_cannot_be(make, failure, when):
    calc = crashing(make, failure, when)
    structure = copper(1)
    for _ in range(int(when) - 1):
        structure.positions += 1e-3
        calc.get_forces(structure)
    structure.positions += 1e-3
    with pytest.raises(ModelError, match=SPOILED[failure]):
        calc.get_forces(structure)
    assert "forces" not in calc.results
    assert calc.get_forces(structure).shape == (4, 3)  # the next call works
