"""Unusual paths, locales, umasks, limits and clocks."""

from __future__ import annotations

import os
import time

import pytest
from ase.build import bulk

from rootstock import RootstockError
from tests.support.scripts import calculate_elsewhere
from tests.support.users import needs_root


@pytest.mark.parametrize("name", ["two words", 'quote\'s "double"', "new\nline", "x" * 250, "ü😀"])
def test_unusual_paths(built_probe_root, tmp_path, name):
    path = tmp_path / name
    path.symlink_to(built_probe_root)
    calculate_elsewhere(path)


def test_a_path_of_more_than_300_characters(built_probe_root, tmp_path):
    folder = tmp_path / ("a" * 150) / ("b" * 150)
    folder.mkdir(parents=True)
    (folder / "root").symlink_to(built_probe_root)
    calculate_elsewhere(folder / "root")


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
def test_variables(built_probe_root, variables):
    calculate_elsewhere(built_probe_root, variables=variables)


@pytest.mark.parametrize("mask", [0o000, 0o077, 0o777])
def test_any_umask(built_probe_root, mask):
    calculate_elsewhere(built_probe_root, preexec_fn=lambda: os.umask(mask))


def test_a_home_that_is_a_link_and_one_that_is_gone(built_probe_root, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "real")
    calculate_elsewhere(built_probe_root, variables={"HOME": str(tmp_path / "home")})
    calculate_elsewhere(built_probe_root, variables={"HOME": str(tmp_path / "gone")})


@needs_root
def test_no_shared_memory(built_probe_root):
    script = 'umount /dev/shm && exec "$@"'
    calculate_elsewhere(built_probe_root, before=["unshare", "-m", "sh", "-c", script, "sh"])


def test_a_limit_on_memory(built_probe_root):
    import resource

    limit = 1500 * 2**20
    calculate_elsewhere(
        built_probe_root, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    )


def test_many_descriptors(built_probe_root, make):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(soft, 3000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit, hard), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]  # more than select() supports
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


def test_the_clock_may_jump(make, monkeypatch):
    calc = make("probe-null", timeout=20)
    atoms = bulk("Cu")
    for offset in (0, 1e6, -1e6):
        monkeypatch.setattr(time, "time", lambda now=offset: now)
        atoms.positions += 0.1
        assert calc.get_potential_energy(atoms) == 0.0
