"""Child processes end on request, or when this process ends."""

# Beside the folders named after the packages of src: tests/support holds helpers of the tests.

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from rootstock.support.processes import ChildProcess
from tests.support.processes import is_running, wait_until_gone

#: A program that starts a helper; neither of them uses Rootstock.
SHELL = ["sh", "-c", "sleep 600 & echo $! && sleep 600"]


def start(**options) -> tuple[ChildProcess, int]:
    child = ChildProcess(SHELL, stdout=subprocess.PIPE, **options)
    helper = int(child.popen.stdout.readline())
    child.popen.stdout.close()
    assert is_running(helper)
    return child, helper


def test_the_whole_group_ends():
    child, helper = start()
    with child:
        pid = child.popen.pid
        assert not child.wait(0.05)
    assert wait_until_gone(pid, helper)
    assert child.end() == -signal.SIGKILL  # a second call does nothing


def test_it_may_end_by_itself():
    with ChildProcess(["sh", "-c", "exit 7"]) as child:
        assert child.wait(10)
        assert child.end() == 7


def test_a_signal_can_end_it():
    script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done"
    with ChildProcess(["bash", "-c", script], stdout=subprocess.PIPE) as child:
        child.popen.stdout.readline()
        assert child.end(10, signal.SIGTERM) == 5
        child.popen.stdout.close()


def test_without_a_pidfd(monkeypatch):
    monkeypatch.setattr("rootstock.support.processes._open_pidfd", lambda _: None)
    child, helper = start()
    with child:
        assert not child.wait(0.05)
    assert wait_until_gone(child.popen.pid, helper)


def test_a_dropped_child_ends():
    child, helper = start()
    child.popen.returncode = 0  # Popen would warn of it
    references = [child]
    del child
    with pytest.warns(ResourceWarning):
        references.clear()
    assert wait_until_gone(helper)


def test_a_child_that_does_not_end_is_left_alone_with_a_warning(monkeypatch):
    with ChildProcess(["sleep", "600"]) as child:
        with monkeypatch.context() as patch:
            patch.setattr("rootstock.support.processes._KILL_WAIT", 0.05)
            patch.setattr(child, "_signal", lambda _: None)  # as in an uninterruptible read
            with pytest.warns(RuntimeWarning, match="left alone"):
                assert child.end() is None
        assert is_running(child.popen.pid)
    assert wait_until_gone(child.popen.pid)


def test_a_missing_program_leaves_no_descriptor():
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        ChildProcess(["/no/such/program"])
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("end", ["SIGTERM", "SIGKILL"])
def test_it_ends_with_this_process(end):
    """The program does not have to run for that: this one stops itself at once."""
    code = (
        "import signal, time\nfrom rootstock.support.processes import ChildProcess\n"
        "stopped = 'sleep 600 & echo $$ $!; kill -STOP $$'\n"
        "child = ChildProcess(['sh', '-c', stopped], stdout=-1)\n"
        "print(child.popen.stdout.readline().decode(), end='', flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        program, helper = map(int, process.stdout.readline().split())
        alive = is_running(program), is_running(helper)
        process.send_signal(getattr(signal, end))
    assert alive == (True, True)
    assert wait_until_gone(program, helper)


def test_a_forked_process_leaves_it_alone():
    child, helper = start()
    with child:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                child.__exit__(None, None, None)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert not wait_until_gone(child.popen.pid, helper, within=0.3)


def test_it_ends_with_this_process_even_if_a_forked_one_continues():
    code = (
        "import os, signal, time\nfrom rootstock.support.processes import ChildProcess\n"
        "child = ChildProcess(['sleep', '600'])\n"
        "if os.fork() == 0:\n    time.sleep(3)\n    os._exit(0)\n"
        "print(child.popen.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        program = int(process.stdout.readline())
        assert wait_until_gone(program, within=2.0)
