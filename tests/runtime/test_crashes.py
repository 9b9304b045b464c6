"""The crash table: each way to fail in each phase, with the message and the time it takes.

The fixtures of conftest.py fail every one of these tests that leaves a process or a descriptor behind.
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

#: What happens, and what the error says. None: it never ends, so a limit on time has to end it.
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
#: What raises an exception, and what the error says.
RAISED = {
    "raise": "RuntimeError: the model's own words",
    "memory": "MemoryError",
}
#: Invalid results, and what the error says.
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


def died(what, error, seconds):
    """Check what the error says, and how long it took to appear."""
    text = DEATHS[what]
    assert seconds < PROMPT + (LIMIT if text is None else 0)
    said = str(error.value)
    assert "probe-crash" in said
    assert "next call starts another" in said
    if text is None:
        assert isinstance(error.value, (CallTimeoutError, WorkerDiedError)), error.value
    else:
        assert isinstance(error.value, WorkerDiedError)
        assert text in said
    if what not in ("stdout", "SIGSEGV"):
        assert f"these are my last words: {what}" in said
    assert len(said) < 10_000  # the tail of a log, not all of it


@pytest.mark.parametrize("when", ["1", "100"])
@pytest.mark.parametrize("what", DEATHS)
def test_deaths_in_a_call(make, what, when):
    calc = crashing(make, what, when, timeout=LIMIT)
    calc.report
    structure = copper(1)
    for _ in range(int(when) - 1):
        structure.positions += 1e-3
        calc.get_forces(structure)
    structure.positions += 1e-3
    started = time.monotonic()
    with pytest.raises((WorkerDiedError, CallTimeoutError)) as error:
        calc.get_forces(structure)
    died(what, error, time.monotonic() - started)
    if when == "100":  # with "1" the next worker's first call is its last one
        assert calc.get_forces(structure).shape == (4, 3)


@pytest.mark.parametrize("what", DEATHS)
def test_deaths_in_setup(make, what):
    calc = crashing(make, what, "setup", startup_timeout=LIMIT)
    for _ in range(2):  # the second error names its own cause
        started = time.monotonic()
        with pytest.raises((WorkerDiedError, CallTimeoutError)) as error:
            calc.get_forces(copper(1))
        died(what, error, time.monotonic() - started)


@pytest.mark.parametrize("what", DEATHS)
def test_deaths_in_the_import(make, what, monkeypatch):
    calc = crashing(make, what, "never", startup_timeout=LIMIT)
    monkeypatch.setenv("PROBE_AT_IMPORT", what)
    started = time.monotonic()
    with pytest.raises((WorkerDiedError, CallTimeoutError)) as error:
        calc.get_forces(copper(1))
    died(what, error, time.monotonic() - started)
    monkeypatch.delenv("PROBE_AT_IMPORT")
    assert calc.get_forces(copper(1)).shape == (4, 3)


@pytest.mark.parametrize("what", [*DEATHS, *RAISED])
def test_anything_while_it_ends(make, what):
    calc = crashing(make, what, "close")
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
def _childrens_ends_are_ignored():
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    yield
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    signal.signal(signal.SIGCHLD, previous)


@pytest.mark.usefixtures("_childrens_ends_are_ignored")
def test_a_caller_that_ignores_its_children(make):
    """The kernel keeps no exit status then, so none is given. The worker itself ignores no signal."""
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


@pytest.mark.parametrize("what", RAISED)
@pytest.mark.parametrize("when", ["import", "setup", "1", "100"])
def test_exceptions(make, what, when, monkeypatch):
    calc = crashing(make, what, when)
    if when == "import":
        monkeypatch.setenv("PROBE_AT_IMPORT", what)
    structure = copper(1)
    kind = SetupError if when in ("import", "setup") else ModelError
    if when == "100":
        for _ in range(99):
            structure.positions += 1e-3
            calc.get_forces(structure)
        structure.positions += 1e-3
    with pytest.raises((kind, WorkerDiedError), match=RAISED[what].partition(":")[0]) as error:
        calc.get_forces(structure)
    assert "probe-crash" in str(error.value) or RAISED[what] in str(error.value)
    if when in ("1", "100"):
        pid = calc.report.pid
        structure.positions += 1e-3
        assert calc.get_forces(structure).shape == (4, 3)  # of the same worker
        assert calc.report.pid == pid


@pytest.mark.parametrize("what", SPOILED)
@pytest.mark.parametrize("when", ["1", "100"])
def test_results_that_cannot_be(make, what, when):
    calc = crashing(make, what, when)
    structure = copper(1)
    for _ in range(int(when) - 1):
        structure.positions += 1e-3
        calc.get_forces(structure)
    structure.positions += 1e-3
    with pytest.raises(ModelError, match=SPOILED[what]):
        calc.get_forces(structure)
    assert "forces" not in calc.results
    assert calc.get_forces(structure).shape == (4, 3)  # the next call works
