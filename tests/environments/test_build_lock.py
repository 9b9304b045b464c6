"""One process builds at a time; the lock of a process that died is taken over."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time

import pytest

from rootstock.environments import build_lock as module
from rootstock.environments.build_lock import build_lock
from rootstock.environments.environment import EnvironmentPaths
from rootstock.settings.root import Layer
from rootstock.support.progress import Progress
from tests.support.builds import build, leftovers
from tests.support.environment_files import write_environment_file


@pytest.fixture
def paths(tmp_path):
    """Paths of an environment whose folder of builds exists and is empty."""
    builds = tmp_path / "envs" / "my"
    builds.mkdir(parents=True)
    return EnvironmentPaths(
        Layer(tmp_path), tmp_path / "my_env.py", tmp_path / "pylock.my.toml", builds
    )


@pytest.mark.model
def test_two_builders_at_once_end_with_one_environment(root):
    write_environment_file(root.writable.environments, dependencies='"six"')
    code = (
        "import sys\n"
        "from rootstock import find_root\n"
        "from rootstock.environments.build import prepare_environment\n"
        "from rootstock.environments.discovery import find_environment\n"
        "from rootstock.support.progress import Progress\n"
        "root = find_root(sys.argv[1])\n"
        "print(prepare_environment(find_environment('my', root), Progress()).build.id)\n"
    )
    command = [sys.executable, "-c", code, str(root.path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    builds = {process.communicate()[0] for process in running}
    assert len(builds) == 1
    assert "" not in builds
    assert not leftovers(root)


@pytest.mark.model
def test_the_next_build_removes_what_a_killed_builder_left(root):
    write_environment_file(root.writable.environments, dependencies='"ase"')
    code = (
        "import sys\n"
        "from rootstock import find_root\n"
        "from rootstock.environments.build import prepare_environment\n"
        "from rootstock.environments.discovery import find_environment\n"
        "from rootstock.support.progress import Progress\n"
        "root = find_root(sys.argv[1])\n"
        "prepare_environment(find_environment('my', root), Progress())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(root.path)], stderr=subprocess.DEVNULL
    )
    folder = root.path / "envs" / "my"
    while not list(folder.glob(".building-*")):
        time.sleep(0.01)
    time.sleep(0.5)
    process.kill()
    process.wait()
    assert leftovers(root)
    time.sleep(1)  # uv, whose parent was killed, ends by itself
    started = time.monotonic()
    assert build(root, dependencies='"six"').python.exists()
    assert time.monotonic() - started < 30  # without waiting for the lock of the killed builder
    assert not leftovers(root)


def test_a_lock_without_a_heartbeat_is_taken_over(paths, monkeypatch):
    monkeypatch.setattr(module, "_DEAD", 0.5)
    (paths.builds / ".lease").write_text(json.dumps(["another-node", 1, "x"]))
    shown = []
    progress = Progress()
    progress.line = shown.append
    started = time.monotonic()
    with build_lock(paths, progress):
        assert time.monotonic() - started > 0.5
    assert "another-node" in shown[0]
    assert not list(paths.builds.iterdir())


def test_a_lock_with_a_heartbeat_is_waited_for(paths, monkeypatch):
    monkeypatch.setattr(module, "_DEAD", 2.0)
    monkeypatch.setattr(module, "_HEARTBEAT", 0.1)
    order = []

    def first():
        with build_lock(paths, Progress()):
            order.append("first in")
            time.sleep(3.0)
            order.append("first out")

    thread = threading.Thread(target=first)
    thread.start()
    while not order:
        time.sleep(0.01)
    with build_lock(paths, Progress()):
        order.append("second in")
    thread.join()
    assert order == ["first in", "first out", "second in"]
