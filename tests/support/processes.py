"""The workers of this test session, and processes in general."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.waiting import wait_until

#: A variable that workers inherit. It tells them from the workers of other test sessions.
MARK = b"TEST_SESSION=%d" % os.getpid()


def worker_pids() -> set[int]:
    """Return the process ids of all workers of this session, whichever process started them."""
    pids = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            in_session = MARK in (entry / "environ").read_bytes().split(b"\0")
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if in_session and state != "Z" and any(p.endswith(b"worker/__main__.py") for p in command):
            pids.add(int(entry.name))
    return pids


def wait_for_no_workers() -> bool:
    """Wait until no worker is left, five seconds at most."""
    return wait_until(lambda: not worker_pids(), pause=0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(*pids: int, within: float = 5.0) -> bool:
    return wait_until(lambda: not any(map(is_running, pids)), within)
