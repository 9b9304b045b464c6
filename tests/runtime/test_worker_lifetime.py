"""Workers end with the process that started them, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.processes import wait_for_no_workers, worker_pids
from tests.support.scripts import WARNINGS_ARE_ERRORS, run_script
from tests.support.waiting import wait_until


@pytest.mark.parametrize("death", ["SIGKILL", "SIGTERM", "SystemExit", "nothing"])
def test_a_worker_ends_with_the_main_process(make, death):
    end = {"SystemExit": "sys.exit(0)", "nothing": ""}
    code = (
        "import os, signal, sys, threading, time\n"
        "from ase.build import bulk\n"
        "from rootstock import RootstockCalculator\n"
        f"calc = RootstockCalculator(**{make('probe-misbehaving').parameters!r})\n"
        "atoms = bulk('Cu'); atoms.calc = calc; atoms.get_forces()\n"
        "print(calc.report.pid, flush=True)\n"
    )
    if death.startswith("SIG"):
        code += (
            "atoms.info['do'] = 'sleep-60'\n"
            "busy = threading.Thread(target=atoms.get_forces, daemon=True)\n"
            "busy.start(); time.sleep(0.3)\n"
            f"os.kill(os.getpid(), signal.{death}); time.sleep(30)"
        )
    done = run_script(code + end.get(death, ""))
    pid = int(done.stdout)
    assert wait_until(lambda: not Path(f"/proc/{pid}").exists())
    if not death.startswith("SIG"):
        assert done.returncode == 0
        assert done.stderr == ""


MAIN = """
import sys, time
from ase.build import bulk
from rootstock import RootstockCalculator
root, phase = sys.argv[1:]
options = {"failure": "SIGSTOP", "when": "setup"} if phase == "setup" else {"failure": "loop", "when": "2"}
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


@pytest.mark.parametrize("phase", ["import", "setup", "call", "idle"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_killing_the_main_process_ends_its_workers(make, probe_root, phase, name, monkeypatch):
    calc = make("probe-null")
    calc.report  # builds it
    calc.close()
    if phase == "import":
        monkeypatch.setenv("PROBE_AT_IMPORT", "loop")
    command = [sys.executable, "-c", MAIN, str(probe_root), phase]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begin\n"
        if phase in ("call", "idle"):
            assert process.stdout.readline() == "idle\n"
        wait_until(worker_pids, within=20)
        time.sleep(0.5)
        assert worker_pids()
        os.kill(process.pid, getattr(signal, name))
        process.wait(20)
        process.stdout.close()
    assert wait_for_no_workers()


def test_a_worker_ends_with_the_main_process_without_the_kernels_help(make, probe_root):
    calc = make("probe-null")
    calc.report  # builds it
    calc.close()
    code = f"import rootstock.support.processes as c\nc._attach = lambda *_: None\n{MAIN}"
    command = [sys.executable, "-c", code, str(probe_root), "call"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert [process.stdout.readline() for _ in range(2)] == ["begin\n", "idle\n"]
        time.sleep(0.5)  # now it is in the middle of a call that never ends
        assert worker_pids()
        process.kill()
    assert wait_for_no_workers()


def test_an_interpreter_that_ends_without_close_is_quiet(probe_root):
    code = (
        "import sys\nfrom ase.build import bulk\nfrom rootstock import RootstockCalculator\n"
        "atoms = bulk('Cu')\n"
        "atoms.calc = RootstockCalculator('probe-null', root=sys.argv[1], device='cpu')\n"
        "print(atoms.get_potential_energy())\n"
    )
    done = run_script(code, probe_root, options=WARNINGS_ARE_ERRORS)
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
    make("probe-null").report  # builds it
    started = time.monotonic()
    done = run_script(DAEMON, probe_root, options=WARNINGS_ARE_ERRORS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
    assert time.monotonic() - started < 20
