"""A second user of this machine, who can only read the root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rootstock import find_root
from rootstock.maintenance.initialise import initialise_root
from tests.support.command_line import as_json
from tests.support.paths import PROBE, REPO
from tests.support.users import needs_root

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A shared root that another user can only read, with a copy of Rootstock that they can import."""
    folder = Path(tempfile.mkdtemp(prefix="rootstock-test-"))
    folder.chmod(0o755)
    shutil.copytree(REPO / "src" / "rootstock", folder / "lib" / "rootstock")
    root = initialise_root(find_root(folder / "root"))
    shutil.copyfile(PROBE, (root.writable.environments / "probe_env.py"))
    python = next(
        (p for p in ("/usr/bin/python3.11", "/usr/bin/python3") if Path(p).exists()), None
    )
    arguments = ["install", "probe", "--root", root.path, "--models", "downloads"]
    installed = as_json(*arguments, *(["--python", python] if python else []))
    assert installed["fetched"] == ["probe-downloads"]
    nobody = pwd.getpwnam("nobody")
    home = folder / "home"
    (home / ".cache" / "huggingface").mkdir(parents=True)
    (home / ".cache" / "huggingface" / "token").write_text("secret")
    for path in [home, *home.rglob("*")]:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    yield folder
    shutil.rmtree(folder)


def as_user(folder: Path, code: str):
    """Run code as the user nobody, whose home is in `folder`."""
    nobody = pwd.getpwnam("nobody")
    script = (
        "import sys, os, importlib, pkgutil\n"
        f"sys.path[:0] = {[str(folder / 'lib'), *sys.path]!r}\n"
        "import rootstock, ase.build, ase.calculators.calculator, uv, rich.console, numpy.linalg\n"
        "import ase.calculators.emt, ase.spacegroup.spacegroup, encodings.idna\n"
        f"assert rootstock.__file__.startswith({str(folder)!r}), rootstock.__file__\n"
        "for module in pkgutil.walk_packages(rootstock.__path__, 'rootstock.'):\n"
        "    if not any(w in module.name for w in ('catalogue', 'worker', 'lammps', '__main__')):\n"
        "        importlib.import_module(module.name)\n"
        f"os.environ['HOME'] = {str(folder / 'home')!r}\n"
        "for name in list(os.environ):\n"
        "    if name.startswith(('XDG_', 'UV_', 'ROOTSTOCK_')): del os.environ[name]\n"
        f"os.setgroups([]); os.setgid({nobody.pw_gid}); os.setuid({nobody.pw_uid})\n"
        f"root = {str(folder / 'root')!r}\n"
        "from rootstock import *\nfrom ase.build import bulk\n" + code
    )
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd="/"
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def snapshot(folder: Path) -> dict:
    """Return the modification time and size of every file in the root."""
    return {
        str(path): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in (folder / "root").rglob("*")
    }


@needs_root
def test_another_user_runs_and_writes_nothing_into_the_shared_root(shared):
    before = snapshot(shared)
    output = as_user(
        shared,
        "atoms = bulk('Cu')\n"
        "with RootstockCalculator('probe-downloads', root=root, device='cpu') as calc:\n"
        "    atoms.calc = calc\n"
        "    atoms.get_potential_energy()\n"
        "    print(calc.spec.offline, len(calc.provenance.weights))\n"
        "with RootstockCalculator('probe-world', root=root, device='cpu') as calc:\n"
        "    calc.calculate(atoms, ['energy'])\n"
        "    print(open(calc.results['environ']['HF_TOKEN_PATH']).read())\n",
    )
    assert output == "True 1\nsecret\n"
    assert snapshot(shared) == before
    (user_layer,) = (shared / "home" / ".local" / "share" / "rootstock-overlays").iterdir()
    link = user_layer / "cache" / "probe" / "weights.bin"
    assert (
        link.is_symlink() and link.resolve() == shared / "root" / "cache" / "probe" / "weights.bin"
    )
    assert (user_layer / "cache" / "probe" / "weights.bin.lock").read_text() == "locked"
    assert (shared / "home" / ".cache" / "rootstock" / "triton" / "written").exists()


@needs_root
def test_another_user_adds_their_own_file(shared):
    before = snapshot(shared)
    output = as_user(
        shared,
        "from pathlib import Path\n"
        "from rootstock.environments.discovery import available_environments\n"
        "from rootstock.maintenance.add_files import add_files\n"
        "from rootstock.maintenance.doctor import doctor\n"
        "from rootstock.maintenance.fetch import fetch\n"
        "from rootstock.maintenance.status import status\n"
        "shared_root = find_root(root)\n"
        "own = Path.home() / 'own_env.py'\n"
        "own.write_text((shared_root.shared.environments / 'probe_env.py').read_text())\n"
        "add_files(shared_root, [own])\n"
        "origins = {e.name: e.origin for e in available_environments(shared_root)}\n"
        "print(origins['own'], origins['probe'], origins['chgnet'])\n"
        "print({h.name: h.state for h in status(shared_root)})\n"
        "print([f.level for f in doctor(shared_root) if f.topic == 'root'])\n"
        "print(len(fetch('probe-world', root=root).files))\n",
    ).splitlines()
    assert output[0] == "user root catalogue"
    assert "'probe': 'ready'" in output[1] and "'own': 'not built'" in output[1]
    assert "'probe-downloads': 'fetched'" in output[1]
    assert output[2] == "['ok']"
    assert output[3] == "0"
    assert snapshot(shared) == before


@needs_root
def test_the_maintainers_edit_does_not_make_users_build(shared):
    source = shared / "root" / "environments" / "probe_env.py"
    text = source.read_text()
    source.write_text(text.replace('"ase>=3.22.1"', '"ase>=3.22.1", "six"'))
    try:
        output = as_user(
            shared,
            "with RootstockCalculator('probe-null', root=root, device='cpu') as calc:\n"
            "    print(calc.get_potential_energy(bulk('Cu')))\n",
        )
    finally:
        source.write_text(text)
    assert output == "0.0\n"


@needs_root
def test_init_of_another_users_root_is_refused(shared):
    output = as_user(
        shared,
        "from rootstock.errors import RootError\n"
        "from rootstock.maintenance.initialise import initialise_root\n"
        "try:\n    initialise_root(find_root(root))\n"
        "except RootError as error:\n    print(error)\n",
    )
    assert "you can't write to it" in output
