"""The umask of blocks that write to a group-shared root, in threads and forked processes."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from rootstock.settings.root import Layer
from rootstock.support.files import umask
from tests.support.umask import current_umask
from tests.support.waiting import background, wait_until


@pytest.fixture
def shared_layer(tmp_path) -> Layer:
    """A layer that a group maintains."""
    layer = Layer(tmp_path)
    layer.environments.mkdir()
    layer.environments.chmod(0o2775)
    assert layer.is_group_shared
    return layer


def test_the_umask_comes_back_after_an_error(shared_layer, callers_umask):
    with pytest.raises(ZeroDivisionError):
        with shared_layer.writable_by_group():
            assert current_umask() == 0o002
            raise ZeroDivisionError
    assert current_umask() == callers_umask


def hold(block, entered: threading.Event, leave: threading.Event) -> None:
    with block():
        entered.set()
        leave.wait(10)


def test_threads_that_leave_in_another_order_leave_the_callers_umask(shared_layer, callers_umask):
    """As when many sessions start at once, each of which writes its pin."""
    first, second = threading.Event(), threading.Event()
    leave_first, leave_second = threading.Event(), threading.Event()
    with background(hold, shared_layer.writable_by_group, first, leave_first) as done:
        assert first.wait(10)
        with background(hold, lambda: umask(0o077), second, leave_second):
            second.wait(0.2)  # it has to wait for the first
            leave_first.set()
            assert wait_until(lambda: done)
            assert second.wait(10)
            leave_second.set()
    assert current_umask() == callers_umask


def test_one_block_inside_another(shared_layer, callers_umask):
    with shared_layer.writable_by_group(), umask(0o077), shared_layer.writable_by_group():
        assert current_umask() == 0o002
    assert current_umask() == callers_umask


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of a process with threads
def test_a_child_that_is_forked_during_a_block_does_not_wait_for_ever(callers_umask):
    entered, leave = threading.Event(), threading.Event()
    with background(hold, lambda: umask(0o002), entered, leave):
        assert entered.wait(10)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(5)
                with umask(0o077):
                    status = 0
            finally:
                os._exit(status)
        leave.set()
        assert os.waitpid(child, 0)[1] == 0
