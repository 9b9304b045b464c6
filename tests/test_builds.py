"""Builds with the real uv and small packages: complete or not at all, one at a time, locked."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import PROBE
from test_environments import as_nobody, environment

from rootstock import BuildError, RootError, RootstockCalculator, StartupError, find_root
from rootstock.environments import generations as g
from rootstock.environments import prepare, resolve
from rootstock.progress import Progress

pytestmark = pytest.mark.model


# --- builds -------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path):
    return find_root(tmp_path / "a root's folder, with spaces")


def build(root, **parts):
    environment(root.environments, **parts)
    return prepare(resolve(parts.get("name", "my"), root)[1], root, Progress())


def leftovers(root) -> list[str]:
    return [
        str(p)
        for p in root.path.rglob("*")
        if p.name.startswith((".building", ".lease", ".current", ".my"))
    ]


def test_a_build_is_locked_complete_and_reused_without_uv(root, monkeypatch):
    built = build(root, dependencies='"six==1.16.0"')
    version = [built.python, "-c", "import six; print(six.__version__)"]
    assert subprocess.run(version, capture_output=True, text=True, check=True).stdout == "1.16.0\n"
    lock = root.lock(built.file).read_text()
    assert 'name = "six"' in lock
    assert "sha256" in lock
    assert list(built.python.parent.parent.rglob("six*.pyc"))
    assert os.readlink(root.generations(built.file) / "current") == built.key
    marker = json.loads((built.python.parent.parent / "rootstock.json").read_text())
    assert marker["key"] == built.key
    assert not leftovers(root)
    monkeypatch.setattr("rootstock.environments.build.Uv", None)  # any use would raise
    assert build(root, dependencies='"six==1.16.0"') == built


def test_a_rebuild_follows_the_lock(root):
    environment(root.environments, dependencies='"six"')
    first = build(root, dependencies='"six"')
    lock = root.lock(first.file)
    old = lock.read_text()
    lock.write_text(old.replace("1.17.0", "1.17.0"))
    shutil.rmtree(root.path / "envs")
    again = build(root, dependencies='"six"')
    assert lock.read_text() == old
    assert again.key == first.key


def test_a_lock_made_again_is_equal(root):
    first = build(root, dependencies='"six==1.16.0"')
    shutil.rmtree(root.path)
    assert build(root, dependencies='"six==1.16.0"').key == first.key


def test_changed_dependencies_are_a_new_generation_and_pins_stay(root):
    first = build(root, dependencies='"six==1.16.0"')
    second = build(root, dependencies='"six==1.16.0", "attrs==23.1.0"')
    assert second.key != first.key
    assert first.python.exists()  # a running worker keeps its generation
    assert build(root, dependencies='"six==1.16.0", "attrs==23.1.0"').key == second.key


def test_going_back_builds_nothing(root):
    first = build(root, dependencies='"six==1.16.0"')
    built = (first.python.parent.parent / "rootstock.json").stat().st_mtime_ns
    second = build(root, dependencies='"six==1.15.0"')
    assert second.key != first.key
    assert build(root, dependencies='"six==1.16.0"') == first
    assert (first.python.parent.parent / "rootstock.json").stat().st_mtime_ns == built
    assert not leftovers(root)


def test_the_caller_and_uvs_variables(root, monkeypatch, tmp_path):
    constraint = tmp_path / "c.txt"
    constraint.write_text("six==1.15.0\n")
    monkeypatch.setenv("UV_CONSTRAINT", str(constraint))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("VIRTUAL_ENV", "/nowhere")
    built = build(root, dependencies='"six"')
    assert 'version = "1.15.0"' in root.lock(built.file).read_text()


def test_tool_uv_counts_in_full(root, tmp_path):
    package = tmp_path / "mine"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "mine"\nversion = "7"\n[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    )
    (package / "mine.py").write_text("x = 1\n")
    extra = f'[tool.uv]\noverride-dependencies = ["six==1.14.0"]\n[tool.uv.sources]\nmine = {{ path = "{package}" }}'
    built = build(root, dependencies='"mine", "six"', extra=extra)
    code = "import importlib.metadata as m; print(m.version('mine'), m.version('six'))"
    assert (
        subprocess.run(
            [built.python, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "7 1.14.0\n"
    )


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"dependencies": '"no-such-package-zzz"'}, "no-such-package-zzz was not found"),
        ({"dependencies": '"six==99"'}, r"there is no version of six==99"),
        ({"dependencies": '"six ==== 1"'}, "own words"),
        ({"extra": '[tool.rootstock]\npython = "3.99"'}, "3.99"),
        ({"extra": "[tool.uv]\nindex-url = 5"}, "own words"),
    ],
)
def test_a_build_that_fails_shows_uvs_words_and_leaves_nothing(root, parts, message):
    environment(root.environments, **parts)
    with pytest.raises(BuildError, match=message) as caught:
        build(root, **parts)
    assert "my_env.py" in str(caught.value)
    assert not leftovers(root)
    assert not list(root.generations(resolve("my", root)[1]).iterdir())


def test_a_catalogue_file_is_adopted_once_it_is_built(root, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(root.path / "empty cache"))
    file = resolve("emt", root)[1]
    with pytest.raises(BuildError):
        prepare(file, root, Progress())
    assert not root.files()
    monkeypatch.undo()
    built = prepare(file, root, Progress())
    assert built.file.path == root.source("emt")
    assert root.source("emt").read_bytes() == file.path.read_bytes()
    assert resolve("emt", root)[1] == built.file


def test_a_python_that_cannot_be_had(root, monkeypatch):
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    path = environment(root.environments)
    path.write_text(path.read_text().replace(">=3.9", ">=3.99"))
    with pytest.raises(BuildError, match=r"3\.99"):
        prepare(resolve("my", root)[1], root, Progress())
    assert not leftovers(root)


def test_a_failed_build_leaves_the_old_one_and_the_next_works(root):
    first = build(root, dependencies='"six==1.16.0"')
    with pytest.raises(BuildError):
        build(root, dependencies='"six==99"')
    assert first.python.exists()
    assert build(root, dependencies='"six==1.16.0"') == first


@pytest.mark.parametrize("version", ["3.9", "3.12"])
def test_other_pythons_than_the_clients(root, version):
    dependencies = '# dependencies = ["ase>=3.22.1"]\n'
    settings = f'# [tool.rootstock]\n# python = "{version}"\n'
    path = environment(root.environments, name="other")
    path.write_text(PROBE.read_text().replace(dependencies, dependencies + settings))
    from ase.build import bulk

    with RootstockCalculator("other-reference", root=root.path, progress=Progress()) as calc:
        calc.calculate(bulk("Cu"), ["energy", "forces"])
        assert calc.report.python.startswith(version)
        assert calc.results["forces"].shape == (1, 3)


def test_two_builders_at_once_end_with_one_environment(root):
    environment(root.environments, dependencies='"six"')
    code = (
        "import sys\n"
        "from rootstock import find_root, prepare\n"
        "from rootstock.environments import resolve\n"
        "from rootstock.progress import Progress\n"
        "root = find_root(sys.argv[1])\n"
        "print(prepare(resolve('my', root)[1], root, Progress()).key)\n"
    )
    command = [sys.executable, "-c", code, str(root.path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    keys = {process.communicate()[0] for process in running}
    assert len(keys) == 1
    assert "" not in keys
    assert not leftovers(root)


BACKEND = """
import subprocess, time
def build_wheel(*arguments):
    subprocess.Popen(["sleep", "{seconds}"])  # as a compiler is started
    time.sleep({seconds})
"""
#: Says which processes are this test's: nobody else sleeps so long.
SECONDS = f"1000.{os.getpid()}"


def compilers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if words[:2] == [b"sleep", SECONDS.encode()]:
                found.append(path.parent.name)
    return found


@pytest.mark.parametrize("end", ["SIGALRM", "SIGTERM", "SIGKILL"])
def test_a_build_that_ends_takes_uv_and_its_compilers_along(root, tmp_path, end):
    """Whether the call was interrupted or the whole process killed."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[project]\nname = "slow"\nversion = "1"\n'
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(BACKEND.format(seconds=SECONDS))
    environment(
        root.environments,
        dependencies='"slow"',
        extra=f"[tool.uv.sources]\nslow = {{ path = {str(package)!r} }}",
    )
    code = (
        "import signal, sys, time\nfrom rootstock import find_root\n"
        "from rootstock.environments import prepare, resolve\n"
        "def interrupt(*_):\n    raise InterruptedError\n"
        "signal.signal(signal.SIGALRM, interrupt)\n"
        "root = find_root(sys.argv[1])\n"
        "try:\n    prepare(resolve('my', root)[1], root)\n"
        "except InterruptedError:\n    print('interrupted', flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(root.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not compilers() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert compilers()
        process.send_signal(getattr(signal, end))
        if end == "SIGALRM":
            assert process.stdout.readline() == "interrupted\n"
        deadline = time.monotonic() + 5
        while compilers() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.kill()
    assert not compilers()


def test_a_caller_that_ignores_its_children_is_told(root):
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(BuildError, match="ignores SIGCHLD"):
            build(root, dependencies='"six==1.16.0"')
    finally:
        signal.signal(signal.SIGCHLD, previous)
    assert not leftovers(root)
    assert build(root, dependencies='"six==1.16.0"').python.exists()


def test_a_killed_builder_leaves_nothing_that_stays(root):
    environment(root.environments, dependencies='"ase"')
    code = (
        "import sys\nfrom rootstock import find_root, prepare\nfrom rootstock.environments import resolve\n"
        "root = find_root(sys.argv[1]); prepare(resolve('my', root)[1], root)\n"
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
    time.sleep(1)  # uv, which is no child of ours any more, ends by itself
    started = time.monotonic()
    assert build(root, dependencies='"six"').python.exists()
    assert time.monotonic() - started < 30  # its lease was not waited for
    assert not leftovers(root)


def test_a_lease_without_a_sign_of_life_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(g, "_DEAD", 0.5)
    (tmp_path / ".lease").write_text(json.dumps(["another-node", 1, "x"]))
    shown = []
    progress = Progress()
    progress.line = shown.append
    started = time.monotonic()
    with g.building(tmp_path, progress):
        assert time.monotonic() - started > 0.5
    assert "another-node" in shown[0]
    assert not list(tmp_path.iterdir())


def test_a_lease_with_a_heartbeat_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(g, "_DEAD", 2.0)
    monkeypatch.setattr(g, "_HEARTBEAT", 0.1)
    order = []

    def first():
        with g.building(tmp_path, Progress()):
            order.append("first in")
            time.sleep(3.0)
            order.append("first out")

    thread = threading.Thread(target=first)
    thread.start()
    while not order:
        time.sleep(0.01)
    with g.building(tmp_path, Progress()):
        order.append("second in")
    thread.join()
    assert order == ["first in", "first out", "second in"]


def test_an_environment_whose_interpreter_vanished_is_built_again(root):
    first = build(root, dependencies='"six"')
    first.python.unlink()
    assert build(root, dependencies='"six"').python.exists()


@pytest.mark.parametrize("path", ["/proc/nothing/here", "/dev/null/x"])
def test_a_root_that_cannot_be_written(path):
    with pytest.raises(RootError, match=r"can't be written.*ROOTSTOCK_ROOT"):
        RootstockCalculator("emt", root=path, progress=Progress()).report


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not write")
def test_a_root_of_somebody_else(tmp_path):
    (tmp_path / "root").mkdir(mode=0o755)
    as_nobody(
        f"""
from rootstock import RootError, RootstockCalculator
try: RootstockCalculator("emt", root={str(tmp_path / "root")!r}).report
except RootError as error: assert "may not write" in str(error), error
else: raise SystemExit("no error")
""",
        tmp_path,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", mount], check=False
    ).returncode:
        pytest.fail("tmpfs can't be mounted here, so nothing is shown")
    try:
        root = find_root(mount / "root")
        with pytest.raises(BuildError, match=r"(?i)no space"):
            build(root, dependencies='"numpy"')
        assert not leftovers(root)
        with (
            (mount / "rest").open("wb", buffering=0) as stream,
            pytest.raises(OSError, match="space"),
        ):
            while True:
                stream.write(bytes(10**5))
        with pytest.raises(RootError, match="disk is full"):
            build(find_root(mount / ("long" * 50) / "other"), name="my")
    except OSError as error:  # even the test's own files don't fit
        assert "space" in str(error)
    finally:
        subprocess.run(["umount", mount], check=True)


def test_an_environment_without_ase_says_so(root):
    environment(root.environments, dependencies='"six"')
    with pytest.raises(StartupError, match="add 'ase' to the dependencies"):
        RootstockCalculator("my", root=root.path, progress=Progress()).report


def test_variables_of_the_environment_file(probe_root):
    text = PROBE.read_text().replace(
        '# ///\n"',
        '# [tool.rootstock.variables]\n# MINE = "set"\n# OMP_NUM_THREADS = "7"\n# ///\n"',
    )
    (probe_root / "environments" / "probe_env.py").write_text(text)
    from ase.build import bulk

    with RootstockCalculator("probe-world", root=probe_root) as calc:
        calc.calculate(bulk("Cu"))
        assert calc.results["environ"]["MINE"] == "set"
        assert calc.results["environ"]["OMP_NUM_THREADS"] == "7"
    shutil.copyfile(PROBE, probe_root / "environments" / "probe_env.py")
