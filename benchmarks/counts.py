"""System calls and bytes of a step on both sides, counted by strace; memory over many calls."""

from __future__ import annotations

import collections
import itertools
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

#: System calls that return the number of transferred bytes.
_CARRIERS = re.compile(r"^(send|recv|read|write|pread|pwrite)")
_BATCH = 100
_LINE = re.compile(r"^(?:\d+\s+)?(?:<\.\.\. )?(\w+)(?:\(| resumed>).*\)\s+= (-?\d+)")


def available() -> bool:
    """Return whether strace is installed."""
    return shutil.which("strace") is not None


def count(arm, calls: int, **request: object) -> dict[str, dict]:
    """Count system calls and bytes of both sides of `arm`, per call.

    Returns
    -------
    dict
        ``"main"`` (the main process) and ``"worker"``: ``calls`` (by name), ``total``, ``bytes``
        (both directions).
    """
    arm.ask("call", calls=10, seed=0, **request)
    sides = {"main": [arm.pid], "worker": arm.workers}
    with tempfile.TemporaryDirectory() as folder:
        tracers = {
            side: [_attach(pid, Path(folder, f"{side}.{pid}")) for pid in pids]
            for side, pids in sides.items()
        }
        time.sleep(1.0)  # strace does not tell when it has attached
        arm.ask("call", calls=calls, seed=1, **request)
        for tracer in itertools.chain.from_iterable(tracers.values()):
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
        return {
            side: _summary([Path(folder, f"{side}.{pid}").read_text() for pid in pids], calls)
            for side, pids in sides.items()
        }


def _attach(pid: int, out: Path) -> subprocess.Popen:
    command = ["strace", "-f", "-q", "-s", "0", "-o", out, "-p", str(pid)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def _summary(logs: list[str], calls: int) -> dict:
    names: collections.Counter = collections.Counter()
    nbytes = 0
    for line in "\n".join(logs).splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        names[match[1]] += 1
        if _CARRIERS.match(match[1]):
            nbytes += max(0, int(match[2]))
    # calls that occur less than once in two steps belong to the harness, the allocator or a timer
    steady = {name: round(number / calls, 1) for name, number in names.items()}
    return {
        "calls": {name: number for name, number in sorted(steady.items()) if number >= 0.5},
        "total": round(sum(names.values()) / calls, 1),
        "bytes": round(nbytes / calls),
    }


def memory(pid: int) -> int:
    """Return the resident memory of a process in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1])


def growth(arm, checkpoints: tuple[int, ...], **request: object) -> list[dict]:
    """Return the resident memory of both sides in KiB after each of `checkpoints` (in calls)."""
    rows = []
    for number in range(_BATCH, checkpoints[-1] + 1, _BATCH):  # short answers: no lists that grow
        arm.ask("call", calls=_BATCH, seed=number, **request)
        if number in checkpoints:
            worker = max(memory(pid) for pid in arm.workers)
            rows.append({"calls": number, "main": memory(arm.pid), "worker": worker})
    return rows
