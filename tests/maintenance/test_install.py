"""Installing and upgrading environments, also without a network and with Ctrl-C."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from rootstock.environments.build import build_environment, prepare_environment, relock
from rootstock.environments.builds import current_build
from rootstock.environments.discovery import find_environment
from rootstock.environments.lockfile import changes, read_lock
from rootstock.environments.options import BuildOptions
from rootstock.maintenance.history import history
from rootstock.maintenance.status import status
from tests.support.builds import QUIET
from tests.support.command_line import as_json, run
from tests.support.environment_files import add_to_root, write_environment_file
from tests.support.users import needs_root

pytestmark = pytest.mark.model


def test_install_takes_a_file(root, tmp_path):
    path = write_environment_file(tmp_path, name="own", dependencies='"six==1.16.0"')
    installed = as_json("install", path, "--root", root.path)
    assert list(installed["environments"]) == ["own"]
    shown = as_json("show", "own", "--root", root.path)
    assert shown["packages"] == {"six": "1.16.0"}
    assert shown["current"]["id"] == installed["environments"]["own"]
    assert shown["current"]["record"]["user"] and shown["current"]["record"]["platform"]
    assert "six==1.16.0" in run("show", "own", "--root", root.path).stdout


def test_an_upgrade_says_what_changed(root):
    add_to_root(root, dependencies='"six==1.15.0"')
    relock(find_environment("my", root), QUIET)
    add_to_root(root, dependencies='"six"')
    shown = as_json("install", "my", "--root", root.path)
    assert shown["changed"] == {}
    before = read_lock(find_environment("my", root).writable.lock)
    assert before.packages == {"six": "1.15.0"}  # a pin is kept as long as it fits
    shown = as_json("install", "my", "--upgrade", "--root", root.path)
    after = read_lock(find_environment("my", root).writable.lock)
    assert shown["changed"]["my"] == [f"six 1.15.0 -> {after.packages['six']}"]
    (change,) = changes(before, after)
    assert (change.name, change.before) == ("six", "1.15.0")
    assert len(history(find_environment("my", root))) == 2


def test_lock_builds_nothing_and_makes_the_build_stale(root):
    file = add_to_root(root, dependencies='"six==1.15.0"')
    prepare_environment(file, QUIET)
    add_to_root(root, dependencies='"six"')
    relock(find_environment("my", root), QUIET)
    shown = as_json("lock", "my", "--upgrade", "--root", root.path)
    assert shown["packages"] == 1
    assert shown["changes"][0]["before"] == "1.15.0"
    assert len(history(file)) == 1
    assert [h.state for h in status(root) if h.name == "my"] == ["stale"]
    assert run("status", "--check", "--root", root.path).exit_code == 9


def test_force_makes_another_build(root):
    file = add_to_root(root, dependencies="")
    first = prepare_environment(file, QUIET)
    second = build_environment(file, QUIET, BuildOptions(force=True))
    assert second.build.id.startswith(f"{first.build.id}-") and first.python.exists()
    assert prepare_environment(file, QUIET).build.id == second.build.id


def test_another_python(root):
    file = add_to_root(root, dependencies="")
    built = build_environment(file, QUIET, BuildOptions(python="3.12"))
    version = subprocess.run(
        [built.python, "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.startswith("Python 3.12")
    assert prepare_environment(file, QUIET) == built  # later builds keep the Python


@needs_root
def test_install_from_wheels_without_a_network(root, tmp_path):
    wheels = tmp_path / "wheels"
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "six==1.16.0"]
    subprocess.run([*command, "-d", wheels], check=True, capture_output=True)
    add_to_root(root, dependencies='"six"')
    command = ["unshare", "-n", sys.executable, "-m", "rootstock", "install", "my", "--json"]
    command += ["--root", root.path, "--offline", "--find-links", wheels]
    variables = {**os.environ, "UV_CACHE_DIR": str(tmp_path / "empty cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr
    build = json.loads(done.stdout)["environments"]["my"]
    python = root.path / "envs" / "my" / build / "bin" / "python"
    command = [python, "-c", "import six; print(six.__version__)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1.16.0\n"


@pytest.mark.parametrize("after", [0.3, 1.0, 2.5])
def test_ctrl_c_during_an_install_keeps_the_previous_build(root, after, tmp_path):
    import signal

    file = add_to_root(root, dependencies='"six==1.16.0"')
    old = prepare_environment(file, QUIET)
    add_to_root(root, dependencies='"ase", "pandas", "scikit-learn"')
    process = subprocess.Popen(
        [sys.executable, "-m", "rootstock", "install", "my", "--root", root.path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "UV_CACHE_DIR": str(tmp_path / "empty cache")},
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the whole group
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), errors  # -2 before Python has started
    assert "Traceback" not in errors or process.returncode != 130
    assert not list(file.writable.builds.glob(".*"))
    assert current_build(file.writable.builds).id == old.build.id
