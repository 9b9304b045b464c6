"""The crash table: each way to fail in each phase. What is said, how long it takes, what is left.

The fixtures of conftest fail every one of these that leaves a process or a descriptor behind.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from rootstock import CallTimeoutError, ModelError, SetupError, WorkerDiedError

#: What happens: what is said of it. None: it has no end of its own, so a limit on time ends it.
DEATHS = {
    "exit 0": "ended with exit code 0",
    "exit 1": "ended with exit code 1",
    "os._exit": "ended with exit code 3",
    "SIGSEGV": "was killed by SIGSEGV",
    "SIGKILL": "was killed by SIGKILL",
    "dozen helpers": "ended with exit code 1",
    "half a reply": "ended with exit code 0",
    "half a reply, then nothing": None,
    "garbage": "which is no answer",
    "close socket": None,
    "SIGSTOP": None,
    "loop": None,
    "stdout": None,
}
#: These are exceptions, in whatever phase.
RAISED = {
    "raise": "RuntimeError: the model's own words",
    "memory": "MemoryError",
}
#: Results that can't be; a phase of their own.
SPOILED = {
    "atoms": r"forces of shape \(5, 3\) and type float64 for 4 atoms",
    "nan": "forces that are not finite: .* for atom 0, one of 4",
    "nan energy": "gave energy that are not finite: nan",
    "nan free energy": "gave free_energy that are not finite: nan",
    "dtype": "forces of shape .* and type complex128",
    "text": "energy of shape",
    "stress": r"stress of shape \(5,\)",
}
PROMPT = 3.0
LIMIT = 1.5


def atoms():
    return bulk("Cu", cubic=True)


def crashing(make, what, when, **limits):
    return make("probe-crash", setup_kwargs={"what": what, "when": when}, **limits)


@pytest.fixture(autouse=True)
def _no_temporary_files(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert not list(folder.iterdir())


def died(what, error, seconds):
    """Check what is said of a death, and how long it took."""
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
    structure = atoms()
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
    for _ in range(2):  # the second says its own cause
        started = time.monotonic()
        with pytest.raises((WorkerDiedError, CallTimeoutError)) as error:
            calc.get_forces(atoms())
        died(what, error, time.monotonic() - started)


@pytest.mark.parametrize("what", DEATHS)
def test_deaths_in_the_import(make, what, monkeypatch):
    calc = crashing(make, what, "never", startup_timeout=LIMIT)
    monkeypatch.setenv("PROBE_AT_IMPORT", what)
    started = time.monotonic()
    with pytest.raises((WorkerDiedError, CallTimeoutError)) as error:
        calc.get_forces(atoms())
    died(what, error, time.monotonic() - started)
    monkeypatch.delenv("PROBE_AT_IMPORT")
    assert calc.get_forces(atoms()).shape == (4, 3)


@pytest.mark.parametrize("what", [*DEATHS, *RAISED])
def test_anything_while_it_ends(make, what):
    calc = crashing(make, what, "close")
    calc.get_forces(atoms())
    started = time.monotonic()
    calc.close()
    assert time.monotonic() - started < 3 + PROMPT  # a worker gets three seconds to end
    calc = make("probe-null")
    assert calc.get_forces(atoms()).shape == (4, 3)


def too_large() -> Atoms:
    """Return a structure of 22 MB: no socket's buffers are as large (ours are asked to be 4 MB)."""
    return Atoms(numbers=np.ones(900_000))


def test_a_worker_that_does_not_read(make):
    """Stopped between two calls: what is sent then stays in mid-write."""
    calc = make("probe-null", timeout=LIMIT)
    pid = calc.report.pid
    large = too_large()
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
    """The kernel then keeps no exit status: none is made up. The worker ignores nothing."""
    calc = make("probe-misbehaving")
    structure = atoms()
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


class Interrupted(Exception):
    """What a handler of SIGALRM raises; Ctrl-C is the same to us."""


@pytest.fixture
def alarm():
    """Return a function that interrupts the main thread after some seconds."""

    def interrupt(*_):
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


@pytest.mark.parametrize("timeout", [None, 30])
def test_an_interrupt_in_the_middle_of_a_write(make, alarm, timeout):
    calc = make("probe-null", timeout=timeout)
    large = too_large()
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
    structure = atoms()
    calc.get_forces(structure)
    structure.positions += 0.1
    alarm(0.3)
    with pytest.raises(Interrupted):
        calc.get_forces(structure)
    started = time.monotonic()
    assert calc.get_forces(structure).shape == (4, 3)
    assert time.monotonic() - started < 2 * PROMPT


@pytest.mark.parametrize("what", RAISED)
@pytest.mark.parametrize("when", ["import", "setup", "1", "100"])
def test_exceptions(make, what, when, monkeypatch):
    calc = crashing(make, what, when)
    if when == "import":
        monkeypatch.setenv("PROBE_AT_IMPORT", what)
    structure = atoms()
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
    structure = atoms()
    for _ in range(int(when) - 1):
        structure.positions += 1e-3
        calc.get_forces(structure)
    structure.positions += 1e-3
    with pytest.raises(ModelError, match=SPOILED[what]):
        calc.get_forces(structure)
    assert "forces" not in calc.results
    assert calc.get_forces(structure).shape == (4, 3)  # the model is well again, and so are we
