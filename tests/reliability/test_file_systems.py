"""Folders that vanish, can only be read, or are full."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ase.build import bulk

from rootstock import BuildError, RootstockCalculator, RootstockError, find_root
from rootstock.errors import RootError, WorkerDiedError
from rootstock.settings.root import Root
from rootstock.support.progress import Progress
from tests.support.builds import build, leftovers
from tests.support.paths import PROBE
from tests.support.scripts import calculate_elsewhere, output_of
from tests.support.users import as_nobody, needs_root


def copied(built_probe_root: Path, folder: Path) -> Path:
    """Return a root of hard links to the session's files, so that a test may remove it."""
    root = folder / "root"
    (root / "environments").mkdir(parents=True)
    shutil.copyfile(PROBE, root / "environments" / "probe_env.py")
    shutil.copyfile(
        built_probe_root / "environments" / "pylock.probe.toml",
        root / "environments" / "pylock.probe.toml",
    )
    (root / "envs").mkdir()
    subprocess.run(["cp", "-al", built_probe_root / "envs" / "probe", root / "envs"], check=True)
    return root


@pytest.mark.parametrize("removed", ["environment", "root"])
def test_a_folder_removed_under_a_running_worker(built_probe_root, tmp_path, removed, monkeypatch):
    root = copied(built_probe_root, tmp_path)
    atoms = bulk("Cu")
    with RootstockCalculator("probe-null", root=root, device="cpu") as calc:
        assert calc.get_potential_energy(atoms) == 0.0
        shutil.rmtree(root / "envs" if removed == "environment" else root)
        atoms.positions += 0.1
        assert calc.get_potential_energy(atoms) == 0.0  # the worker needs no more files
        os.kill(calc.report.pid, 9)
        atoms.positions += 0.1
        with pytest.raises(WorkerDiedError):
            calc.get_potential_energy(atoms)
        monkeypatch.setenv("UV_OFFLINE", "1")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
        with pytest.raises(RootstockError) as error:  # the error of the new build
            calc.get_potential_energy(atoms)
        assert str(error.value)


@needs_root
def test_a_root_on_a_read_only_file_system(built_probe_root, tmp_path):
    folder = tmp_path / "mounted"
    folder.mkdir()
    script = 'mount --bind "$0" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, str(built_probe_root), str(folder)]
    calculate_elsewhere(
        folder, before=command, variables={"ROOTSTOCK_USER_LAYER": str(tmp_path / "user_layer")}
    )
    assert (tmp_path / "user_layer" / "home").is_dir()


@needs_root
def test_no_inodes_left(built_probe_root, tmp_path):
    """A build where no more files can be created."""
    folder = tmp_path / "small"
    folder.mkdir()
    code = (
        "import sys\nfrom pathlib import Path\nfrom rootstock import RootstockError, find_root\n"
        "from rootstock.environments.build import prepare_environment\n"
        "from rootstock.environments.discovery import find_environment\n"
        "root = find_root(sys.argv[1])\n"
        "try:\n    prepare_environment(find_environment('emt', root))\n"
        "except RootstockError as error:\n    print(type(error).__name__, error)\n"
        "print(sorted(p.name for p in Path(sys.argv[1]).rglob('.*')))\n"
    )
    script = 'mount -t tmpfs -o nr_inodes=60 none "$0" && exec "$@"'
    output = output_of(code, folder, before=["unshare", "-m", "sh", "-c", script, folder])
    error, remaining = output.rstrip().rsplit("\n", 1)
    assert error.startswith(("BuildError", "RootError")) and "No space left" in error
    assert remaining == "[]"


def test_a_user_layer_that_cannot_be_written_is_a_clear_error(built_probe_root, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    root = Root(built_probe_root, user_layer=file / "below")
    calc = RootstockCalculator("probe-null", root=root, device="cpu")
    with pytest.raises(RootError, match="can't be written"):
        calc.get_potential_energy(bulk("Cu"))


@pytest.mark.model
@pytest.mark.parametrize("path", ["/proc/nothing/here", "/dev/null/x"])
def test_a_root_that_cannot_be_written(path):
    with pytest.raises(RootError, match=r"can't be written.*ROOTSTOCK_ROOT"):
        RootstockCalculator("emt", root=path, progress=Progress()).report


@pytest.mark.model
@needs_root
def test_a_root_of_another_user(tmp_path):
    (tmp_path / "root").mkdir(mode=0o755)
    as_nobody(
        f"""
from rootstock import RootstockCalculator
from rootstock.errors import RootError
try: RootstockCalculator("emt", root={str(tmp_path / "root")!r}).report
except RootError as error: assert "permission denied" in str(error), error
else: raise SystemExit("no error")
""",
        tmp_path,
    )


@pytest.mark.model
@needs_root
def test_a_full_disk(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", mount], check=False
    ).returncode:
        pytest.fail("tmpfs can't be mounted here, so nothing is tested")
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
