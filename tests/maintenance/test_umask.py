"""Files of a group-shared root are the group's, and the caller's umask stays its own.

The umask belongs to the whole process: a thread of the caller that writes a file during a download
must not find another one.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import threading
from pathlib import Path

import pytest

from rootstock import fetch
from rootstock.settings.root import Layer
from rootstock.support.files import umask
from rootstock.support.progress import Progress
from tests.support.paths import PROBE
from tests.support.waiting import background, wait_until

#: A model whose ``setup()`` writes weights, then waits for a file ``go`` beside them.
_DOWNLOADING = """
def setup(model, device):
    import os, pathlib, time
    folder = pathlib.Path(os.environ["XDG_CACHE_HOME"]) / "probe"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.bin").write_bytes(b"w" * 10)
    (folder / "started").touch()
    deadline = time.monotonic() + 30
    while not (folder / "go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return Null()
"""


def current_umask() -> int:
    """Return this process's umask without changing it, as ``os.umask`` would."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"^Umask:\t(\d+)$", status, re.MULTILINE)[1], 8)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) & 0o777


@pytest.fixture(params=[0o077, 0o022], ids=oct)
def callers_umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.fixture
def shared_layer(user_layer) -> Layer:
    """A writable layer that a group maintains; the build below it needs not be made again."""
    layer = user_layer.writable
    for folder in (layer.path, layer.environments, layer.builds, layer.cache, layer.home):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o2775)
    (layer.environments / "probe_env.py").write_text(PROBE.read_text() + _DOWNLOADING)
    return layer


def test_the_umask_is_the_callers_during_a_download(user_layer, shared_layer, callers_umask):
    cache = shared_layer.cache / "probe"
    with background(fetch, "probe-null", root=user_layer, progress=Progress()) as done:
        try:
            assert wait_until((cache / "started").exists, 20)
            assert current_umask() == callers_umask
        finally:
            cache.mkdir(exist_ok=True)
            (cache / "go").touch()
    assert [file.path for file in done[0].files] == ["cache/probe/weights.bin"]
    assert current_umask() == callers_umask
    assert mode(cache / "weights.bin") == 0o664
    assert mode(cache) == 0o775
    (record,) = shared_layer.records.rglob("null.json")
    assert mode(record) == 0o664
    assert mode(record.parent) == 0o775


def test_ones_own_root_keeps_the_umask(user_layer, callers_umask):
    layer = user_layer.writable
    fetch("probe-downloads", root=user_layer, progress=Progress())
    assert mode(layer.cache / "probe" / "weights.bin") == 0o666 & ~callers_umask
    (record,) = layer.records.rglob("downloads.json")
    assert mode(record) == 0o666 & ~callers_umask


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
            signal.alarm(5)
            with umask(0o077):
                os._exit(0)
        leave.set()
        assert os.waitpid(child, 0)[1] == 0
