"""Fetched files of a group-shared root are the group's; the caller's umask stays its own.

The umask belongs to the whole process: a thread of the caller that writes a file during a download
must not find another one. ``tests/settings/test_umask.py`` has what holds without a download.
"""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rootstock import fetch
from rootstock.settings.root import Layer
from rootstock.support.progress import Progress
from tests.support.paths import PROBE
from tests.support.umask import current_umask
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


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode) & 0o777


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
