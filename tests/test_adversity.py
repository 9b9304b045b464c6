"""What machines do: odd paths, locales, masks, limits, and things that vanish."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path  # noqa: TC003

import pytest
from ase.build import bulk
from conftest import PROBE, needs_root

from rootstock import (
    InsecureWarning,
    RootError,
    RootstockCalculator,
    RootstockError,
    WorkerDiedError,
)
from rootstock.environments import prepare, read_by_name
from rootstock.progress import Progress
from rootstock.root import Root

CALL = """
import sys
from ase.build import bulk
from rootstock import RootstockCalculator
atoms = bulk("Cu")
atoms.info["name"] = "caf\\u00e9 \\U0001f600"
with RootstockCalculator("probe-misbehaving", root=sys.argv[1], device="cpu") as calc:
    atoms.calc = calc
    print(atoms.get_forces().shape, calc.report.pid > 0)
"""


@pytest.fixture
def built(probe_root):
    """The session's root with the probe environment built."""
    root = Root(probe_root)
    prepare(read_by_name("probe", root), root, Progress())
    return probe_root


def call(root, *, before=(), variables=None, **popen):
    done = subprocess.run(
        [*before, sys.executable, "-c", CALL, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **(variables or {})},
        **popen,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(1, 3) True\n"


@pytest.mark.parametrize("name", ["two words", 'quote\'s "double"', "new\nline", "x" * 250, "ü😀"])
def test_odd_paths(built, tmp_path, name):
    path = tmp_path / name
    path.symlink_to(built)
    call(path)


def test_a_path_of_more_than_300_characters(built, tmp_path):
    folder = tmp_path / ("a" * 150) / ("b" * 150)
    folder.mkdir(parents=True)
    (folder / "root").symlink_to(built)
    call(folder / "root")


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "latin-1"},
        {"TMPDIR": "/no/such/folder"},
        {"PYTHONHASHSEED": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error"},
        {"LD_PRELOAD": "/no/such/library.so"},
        {"OMP_NUM_THREADS": "nonsense"},
    ],
    ids=lambda v: next(iter(v)),
)
def test_variables(built, variables):
    call(built, variables=variables)


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_any_umask(built, mask):
    call(built, preexec_fn=lambda: os.umask(mask))


def test_a_home_that_is_a_link_and_one_that_is_gone(built, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "real")
    call(built, variables={"HOME": str(tmp_path / "home")})
    call(built, variables={"HOME": str(tmp_path / "gone")})


@needs_root
def test_no_shared_memory(built):
    script = 'umount /dev/shm && exec "$@"'
    call(built, before=["unshare", "-m", "sh", "-c", script, "sh"])


def test_a_limit_on_memory(built):
    import resource

    limit = 1500 * 2**20
    call(built, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))


def test_many_descriptors(built, make):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(soft, 3000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, hard), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]  # beyond what select() takes
    try:
        calc = make("probe-null")
        assert calc.get_potential_energy(bulk("Cu")) == 0.0
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_descriptors_left(make):
    import resource

    calc = make("probe-null")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, hard))
    try:
        with pytest.raises(RootstockError):
            calc.get_potential_energy(bulk("Cu"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert calc.get_potential_energy(bulk("Cu")) == 0.0


def test_code_that_everybody_could_change_is_warned_of(built, tmp_path):
    own = tmp_path / "own_env.py"
    shutil.copyfile(PROBE, own)
    own.chmod(0o666)
    with pytest.warns(InsecureWarning, match=r"own_env\.py can be changed by everybody"):
        RootstockCalculator(environment=own, model="null", root=built).close()
    own.chmod(0o664)
    RootstockCalculator(environment=own, model="null", root=built).close()  # a group is trusted
    tmp_path.chmod(0o777)
    with pytest.warns(InsecureWarning, match="chmod -R o-w"):
        RootstockCalculator(environment=own, model="null", root=built).close()
    tmp_path.chmod(0o1777)
    RootstockCalculator(environment=own, model="null", root=built).close()
    tmp_path.chmod(0o700)


def test_tokens_stay_where_they_are(make, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("WANDB_API_KEY", "wandb_secret")
    calc = make("probe-misbehaving")
    atoms = bulk("Cu")
    calc.get_potential_energy(atoms)
    atoms.info["do"] = "exit-3"
    with pytest.raises(WorkerDiedError) as error:
        calc.get_potential_energy(atoms)
    shown = [str(error.value), repr(calc), json.dumps(calc.provenance), json.dumps(calc.todict())]
    assert not any("secret" in text for text in [*shown, calc.log, repr(calc.report)])


def test_the_clock_may_jump(make, monkeypatch):
    calc = make("probe-null", timeout=20)
    atoms = bulk("Cu")
    for offset in (0, 1e6, -1e6):
        monkeypatch.setattr(time, "time", lambda now=offset: now)
        atoms.positions += 0.1
        assert calc.get_potential_energy(atoms) == 0.0


def copied(built: Path, folder: Path) -> Path:
    """Return a root of its own whose files are links to the session's, so that it may go."""
    root = folder / "root"
    (root / "environments").mkdir(parents=True)
    shutil.copyfile(PROBE, root / "environments" / "probe_env.py")
    shutil.copyfile(
        built / "environments" / "pylock.probe.toml", root / "environments" / "pylock.probe.toml"
    )
    (root / "envs").mkdir()
    subprocess.run(["cp", "-al", built / "envs" / "probe", root / "envs"], check=True)
    return root


@pytest.mark.parametrize("what", ["environment", "root"])
def test_what_vanishes_under_a_running_worker(built, tmp_path, what, monkeypatch):
    root = copied(built, tmp_path)
    atoms = bulk("Cu")
    with RootstockCalculator("probe-null", root=root, device="cpu") as calc:
        assert calc.get_potential_energy(atoms) == 0.0
        shutil.rmtree(root / "envs" if what == "environment" else root)
        atoms.positions += 0.1
        assert calc.get_potential_energy(atoms) == 0.0  # the worker has what it needs
        os.kill(calc.report.pid, 9)
        atoms.positions += 0.1
        with pytest.raises(WorkerDiedError):
            calc.get_potential_energy(atoms)
        monkeypatch.setenv("UV_OFFLINE", "1")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
        with pytest.raises(RootstockError) as error:  # and building it again says what it lacks
            calc.get_potential_energy(atoms)
        assert str(error.value)


@needs_root
def test_a_root_on_a_read_only_file_system(built, tmp_path):
    where = tmp_path / "mounted"
    where.mkdir()
    script = 'mount --bind "$0" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, str(built), str(where)]
    call(where, before=command, variables={"ROOTSTOCK_OVERLAY": str(tmp_path / "overlay")})
    assert (tmp_path / "overlay" / "home").is_dir()


@needs_root
def test_no_inodes_left(built, tmp_path):
    """A build where not one more file can be made."""
    where = tmp_path / "small"
    where.mkdir()
    code = (
        "import sys\nfrom pathlib import Path\nfrom rootstock import RootError, RootstockError, find_root\n"
        "from rootstock.environments import read_by_name, prepare\n"
        "root = find_root(sys.argv[1])\n"
        "try:\n    prepare(read_by_name('emt', root), root)\n"
        "except RootstockError as error:\n    print(type(error).__name__, error)\n"
        "print(sorted(p.name for p in Path(sys.argv[1]).rglob('.*')))\n"
    )
    script = 'mount -t tmpfs -o nr_inodes=60 none "$0" && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, where, sys.executable, "-c", code, where],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    error, left = done.stdout.rstrip().rsplit("\n", 1)
    assert error.startswith(("BuildError", "RootError")) and "No space left" in error
    assert left == "[]"


def test_a_full_disk_for_the_overlay_is_a_clear_error(built, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    root = Root(built, overlay=file / "below")
    calc = RootstockCalculator("probe-null", root=root, device="cpu")
    with pytest.raises(RootError, match="can't be written"):
        calc.get_potential_energy(bulk("Cu"))
