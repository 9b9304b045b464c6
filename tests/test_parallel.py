"""Threads, futures, images of a NEB, many calculators at once, and a host that dies in any phase."""

from __future__ import annotations

import concurrent.futures
import copy
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import BFGS
from conftest import children


def slab():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def images(calculator) -> list:
    first, last = slab(), slab()
    last.positions[0] += [0.3, 0.2, 0.0]
    band = [first, *(first.copy() for _ in range(3)), last]
    for image in band:
        image.calc = calculator()
    return band


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_the_images_of_a_neb_share_one_worker(make, parallel, duplicate):
    calc = make("probe-emt", threads=1)
    before = calc.report.pid
    energies = []
    for maker in (lambda: duplicate(calc), EMT):
        band = images(maker)
        neb = NEB(band, parallel=parallel, method="improvedtangent")
        neb.interpolate()
        BFGS(neb, logfile=None).run(fmax=0.0, steps=5)
        energies.append([image.get_potential_energy() for image in band[1:-1]])
    assert np.allclose(*energies, rtol=0, atol=1e-9)
    assert calc.report.pid == before
    assert len(children()) == 1


def test_a_call_in_a_future_that_nobody_waits_for(make):
    calc = make("probe-misbehaving")
    slow, quick = slab(), slab()
    slow.info["do"] = "sleep-1"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        running = pool.submit(calc.get_potential_energy, slow)
        waiting = [pool.submit(calc.get_potential_energy, quick) for _ in range(6)]
        time.sleep(0.2)
        cancelled = [future.cancel() for future in waiting]
        with pytest.raises(concurrent.futures.TimeoutError):
            running.result(timeout=0.1)
        expected = quick.positions.sum()
        for future, gone in zip(waiting, cancelled, strict=True):
            if not gone:
                assert future.result() == pytest.approx(expected)
        assert any(cancelled)
        assert running.result() == pytest.approx(slow.positions.sum())
    assert calc.get_potential_energy(quick) == pytest.approx(expected)


def test_twenty_calculators_at_once(make):
    calculators = [make("probe-misbehaving") for _ in range(20)]
    wrong = []

    def use(number: int) -> None:
        atoms = slab()
        for step in range(20):
            atoms.positions += 0.01 * number
            energy = calculators[number].get_potential_energy(atoms)
            if abs(energy - atoms.positions.sum()) > 1e-9:
                wrong.append((number, step))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert len(children()) == 20


HOST = """
import sys, time
from ase.build import bulk
from rootstock import RootstockCalculator
root, phase = sys.argv[1:]
options = {"what": "SIGSTOP", "when": "setup"} if phase == "setup" else {"what": "loop", "when": "2"}
calc = RootstockCalculator("probe-crash", root=root, device="cpu", setup_kwargs=options)
print("begin", flush=True)
atoms = bulk("Cu")
calc.get_potential_energy(atoms)
print("idle", flush=True)
if phase == "call":
    atoms.positions += 1
    calc.get_potential_energy(atoms)
time.sleep(600)
"""


def all_gone() -> bool:
    """Wait until no worker is left, five seconds at most."""
    deadline = time.monotonic() + 5
    while children() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not children()


def run_script(code: str, root) -> subprocess.CompletedProcess:
    """Run a program to which a warning is an error."""
    command = [sys.executable, "-W", "error", "-c", code, str(root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("phase", ["import", "setup", "call", "idle"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_host_that_is_killed_takes_its_workers_along(make, probe_root, phase, name, monkeypatch):
    calc = make("probe-null")
    calc.report  # it is built, then
    calc.close()
    if phase == "import":
        monkeypatch.setenv("PROBE_AT_IMPORT", "loop")
    command = [sys.executable, "-c", HOST, str(probe_root), phase]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begin\n"
        if phase in ("call", "idle"):
            assert process.stdout.readline() == "idle\n"
        deadline = time.monotonic() + 20
        while not children() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        assert children()
        os.kill(process.pid, getattr(signal, name))
        process.wait(20)
        process.stdout.close()
    assert all_gone()


def test_a_worker_ends_with_its_host_where_the_kernel_does_not_see_to_it(make, probe_root):
    calc = make("probe-null")
    calc.report  # it is built, then
    calc.close()
    code = f"import rootstock.children as c\nc._tie = lambda *_: None\n{HOST}"
    command = [sys.executable, "-c", code, str(probe_root), "call"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["begin\n", "idle\n"]
        time.sleep(0.5)  # it is in the middle of a call that never ends, then
        assert children()
        process.kill()
    assert all_gone()


def test_an_interpreter_that_ends_without_close_is_quiet(probe_root):
    code = (
        "import sys\nfrom ase.build import bulk\nfrom rootstock import RootstockCalculator\n"
        "atoms = bulk('Cu')\n"
        "atoms.calc = RootstockCalculator('probe-null', root=sys.argv[1], device='cpu')\n"
        "print(atoms.get_potential_energy())\n"
    )
    done = run_script(code, probe_root)
    assert (done.returncode, done.stdout) == (0, "0.0\n")
    assert not [line for line in done.stderr.splitlines() if not line.startswith("rootstock: ")]


DAEMON = """
import sys, threading
from ase.build import bulk
from rootstock import RootstockCalculator
calc = RootstockCalculator("probe-misbehaving", root=sys.argv[1], device="cpu")
calc.get_potential_energy(bulk("Cu"))
slow = bulk("Cu")
slow.info["do"] = "sleep-600"
thread = threading.Thread(target=calc.get_potential_energy, args=(slow,), daemon=True)
thread.start()
thread.join(1)
print("end", flush=True)
"""


def test_an_interpreter_that_ends_while_a_daemon_thread_calculates(make, probe_root):
    make("probe-null").report  # it is built, then
    started = time.monotonic()
    done = run_script(DAEMON, probe_root)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
    assert time.monotonic() - started < 20


def energy_of(calc, shift: float) -> tuple[float, int, int]:
    """Runs in another process: energy, that process, its worker."""
    atoms = slab()
    atoms.positions += shift
    return float(calc.get_potential_energy(atoms)), os.getpid(), calc.report.pid


def expected(shifts):
    return [slab().positions.sum() + 12 * shift for shift in shifts]


SHIFTS = [0.0, 0.5, 1.0, 1.5]


LOKY = """
import os, sys
import joblib
from ase.build import bulk
from rootstock import RootstockCalculator

def energy_of(calc, shift):
    atoms = bulk("Cu", cubic=True)
    atoms.positions += shift
    return float(calc.get_potential_energy(atoms)), os.getpid(), calc.report.pid

with RootstockCalculator("probe-misbehaving", root=sys.argv[1], device="cpu") as calc:
    mine = energy_of(calc, 0.0)
    shifts = [0.0, 0.5, 1.0, 1.5]
    with joblib.parallel_config(backend="loky", n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(energy_of)(calc, shift) for shift in shifts)
    print([round(energy - mine[0], 6) for energy, _, _ in found])
    print(all(pid != os.getpid() and worker != mine[2] for _, pid, worker in found))
    print(energy_of(calc, 0.0) == mine)
"""


def test_joblibs_loky(make, probe_root):
    """As matcalc's calc_many(n_jobs=2) has it; in a process of its own, for loky's trackers."""
    make("probe-null").report  # it is built, then
    done = subprocess.run(
        [sys.executable, "-c", LOKY, str(probe_root)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0.0, 6.0, 12.0, 18.0]\nTrue\nTrue\n"


@pytest.mark.filterwarnings("ignore")
def test_dasks_distributed(make):
    from distributed import Client, LocalCluster

    calc = make("probe-misbehaving")
    mine = energy_of(calc, 0.0)[2]
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        futures = [client.submit(energy_of, calc, shift, pure=False) for shift in SHIFTS]
        found = client.gather(futures)
    assert [energy for energy, _, _ in found] == pytest.approx(expected(SHIFTS))
    assert all(pid != os.getpid() and worker != mine for _, pid, worker in found)
    assert energy_of(calc, 1.0)[2] == mine
