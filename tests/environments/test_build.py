"""Building with the real uv and small packages: complete or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk

from rootstock import BuildError, RootstockCalculator, StartupError
from rootstock.environments.build import prepare_environment
from rootstock.environments.model_strings import resolve
from rootstock.support.progress import Progress
from tests.support.builds import build, leftovers
from tests.support.environment_files import write_environment_file
from tests.support.paths import PROBE
from tests.support.waiting import wait_until

pytestmark = pytest.mark.model


def test_a_build_is_locked_complete_and_reused_without_uv(root, monkeypatch):
    built = build(root, dependencies='"six==1.16.0"')
    version = [built.python, "-c", "import six; print(six.__version__)"]
    assert subprocess.run(version, capture_output=True, text=True, check=True).stdout == "1.16.0\n"
    lock = built.environment.writable.lock.read_text()
    assert 'name = "six"' in lock
    assert "sha256" in lock
    assert list(built.python.parent.parent.rglob("six*.pyc"))
    assert os.readlink(built.environment.writable.builds / "current") == built.build.id
    record = json.loads((built.python.parent.parent / "rootstock.json").read_text())
    assert record["key"] == built.build.id
    assert not leftovers(root)
    monkeypatch.setattr("rootstock.environments.build.Uv", None)  # any use would raise
    assert build(root, dependencies='"six==1.16.0"') == built


def test_a_rebuild_follows_the_lock(root):
    write_environment_file(root.writable.environments, dependencies='"six"')
    first = build(root, dependencies='"six"')
    lock = first.environment.writable.lock
    old = lock.read_text()
    lock.write_text(old.replace("1.17.0", "1.17.0"))
    shutil.rmtree(root.path / "envs")
    again = build(root, dependencies='"six"')
    assert lock.read_text() == old
    assert again.build.id == first.build.id


def test_a_lock_made_again_is_equal(root):
    first = build(root, dependencies='"six==1.16.0"')
    shutil.rmtree(root.path)
    assert build(root, dependencies='"six==1.16.0"').build.id == first.build.id


def test_uvs_variables_count_and_pythons_do_not(root, monkeypatch, tmp_path):
    constraint = tmp_path / "c.txt"
    constraint.write_text("six==1.15.0\n")
    monkeypatch.setenv("UV_CONSTRAINT", str(constraint))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere")
    built = build(root, dependencies='"six"')
    assert 'version = "1.15.0"' in built.environment.writable.lock.read_text()


def test_all_of_tool_uv_counts(root, tmp_path):
    package = tmp_path / "local"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "local"\nversion = "7"\n[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    )
    (package / "local.py").write_text("x = 1\n")
    extra = f'[tool.uv]\noverride-dependencies = ["six==1.14.0"]\n[tool.uv.sources]\nlocal = {{ path = "{package}" }}'
    built = build(root, dependencies='"local", "six"', extra=extra)
    code = "import importlib.metadata as m; print(m.version('local'), m.version('six'))"
    done = subprocess.run([built.python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "7 1.14.0\n"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"dependencies": '"no-such-package-zzz"'}, "no-such-package-zzz was not found"),
        ({"dependencies": '"six==99"'}, r"there is no version of six==99"),
        ({"dependencies": '"six ==== 1"'}, "uv's output"),
        ({"extra": '[tool.rootstock]\npython = "3.99"'}, "3.99"),
        ({"extra": "[tool.uv]\nindex-url = 5"}, "uv's output"),
    ],
)
def test_a_failed_build_shows_uvs_message_and_leaves_nothing(root, parts, message):
    write_environment_file(root.writable.environments, **parts)
    with pytest.raises(BuildError, match=message) as caught:
        build(root, **parts)
    assert "my_env.py" in str(caught.value)
    assert not leftovers(root)
    assert not list(resolve("my", root)[0].writable.builds.iterdir())


def test_a_python_that_is_not_available(root, monkeypatch):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    path = write_environment_file(root.writable.environments)
    path.write_text(path.read_text().replace(">=3.9", ">=3.99"))
    with pytest.raises(BuildError, match=r"3\.99"):
        prepare_environment(resolve("my", root)[0], Progress())
    assert not leftovers(root)


@pytest.mark.parametrize("version", ["3.9", "3.12"])
def test_other_pythons_than_the_clients(root, version):
    dependencies = '# dependencies = ["ase>=3.22.1"]\n'
    settings = f'# [tool.rootstock]\n# python = "{version}"\n'
    path = write_environment_file(root.writable.environments, name="other")
    path.write_text(PROBE.read_text().replace(dependencies, dependencies + settings))
    with RootstockCalculator("other-reference", root=root.path, progress=Progress()) as calc:
        calc.calculate(bulk("Cu"), ["energy", "forces"])
        assert calc.report.python.startswith(version)
        assert calc.results["forces"].shape == (1, 3)


BACKEND = """
import subprocess, time
def build_wheel(*arguments):
    subprocess.Popen(["sleep", "{seconds}"])  # as a compiler is started
    time.sleep({seconds})
"""
#: An unusual time, by which the processes of this test are known.
SECONDS = f"1000.{os.getpid()}"


def compilers() -> list[str]:
    """Return the ids of the processes that the build backend started."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes().split(b"\0")
            if command[:2] == [b"sleep", SECONDS.encode()]:
                pids.append(path.parent.name)
    return pids


@pytest.mark.parametrize("end", ["SIGALRM", "SIGTERM", "SIGKILL"])
def test_uv_and_its_compilers_end_with_the_build(root, tmp_path, end):
    """The call is interrupted, or the whole process is killed."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "slow"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(BACKEND.format(seconds=SECONDS))
    write_environment_file(
        root.writable.environments,
        dependencies='"slow"',
        extra=f"[tool.uv.sources]\nslow = {{ path = {str(package)!r} }}",
    )
    code = (
        "import signal, sys, time\nfrom rootstock import find_root\n"
        "from rootstock.environments.build import prepare_environment\n"
        "from rootstock.environments.discovery import find_environment\n"
        "def interrupt(*_):\n    raise InterruptedError\n"
        "signal.signal(signal.SIGALRM, interrupt)\n"
        "root = find_root(sys.argv[1])\n"
        "try:\n    prepare_environment(find_environment('my', root))\n"
        "except InterruptedError:\n    print('interrupted', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(root.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert wait_until(compilers, within=60, pause=0.1)
        process.send_signal(getattr(signal, end))
        if end == "SIGALRM":
            assert process.stdout.readline() == "interrupted\n"
        wait_until(lambda: not compilers(), pause=0.1)
        process.kill()
    assert not compilers()


def test_a_caller_that_ignores_its_children_is_an_error(root):
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(BuildError, match="ignores SIGCHLD"):
            build(root, dependencies='"six==1.16.0"')
    finally:
        signal.signal(signal.SIGCHLD, previous)
    assert not leftovers(root)
    assert build(root, dependencies='"six==1.16.0"').python.exists()


def test_an_environment_without_ase_is_an_error(root):
    write_environment_file(root.writable.environments, dependencies='"six"')
    with pytest.raises(StartupError, match="add 'ase' to the dependencies"):
        RootstockCalculator("my", root=root.path, progress=Progress()).report
