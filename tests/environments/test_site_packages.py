"""Environments that use the site packages of an existing interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk

from rootstock import BuildError, RootstockCalculator, find_root
from rootstock.environments.build import build_environment, prepare_environment
from rootstock.environments.discovery import find_environment
from rootstock.environments.lockfile import read_lock
from rootstock.environments.options import BuildOptions
from rootstock.maintenance.history import history
from rootstock.maintenance.initialise import initialise_root
from tests.support.builds import QUIET
from tests.support.command_line import as_json
from tests.support.environment_files import add_to_root

pytestmark = pytest.mark.model


@pytest.fixture
def root(root):
    """A root with its folders, into which a test writes a file."""
    return initialise_root(root)


def make_site(folder: Path, six: str = "1.11.0") -> Path:
    """Make an interpreter whose site packages hold six and a stand-in for PyTorch."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/python3.*/site-packages")
    for name, version in (("torch", "2.13.0+site"), ("six", six)):
        info = packages / f"{name}-{version}.dist-info"
        info.mkdir()
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(text)
        (info / "RECORD").write_text("")
        (packages / f"{name}.py").write_text(f"__version__ = {version!r}\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return make_site(tmp_path_factory.mktemp("site"))


def test_an_environment_with_site_packages(root, site):
    add_to_root(root, dependencies='"torch>=2.4", "packaging"')
    shown = as_json(
        *("install", "my", "--root", root.path, "--system-site-packages", "--python", site)
    )
    lock = read_lock(find_environment("my", root).writable.lock)
    assert set(lock.packages) == {"packaging"}  # the site's PyTorch and six are left alone
    assert lock.site == ("six==1.11.0", "torch==2.13.0+site")
    python = root.path / "envs" / "my" / shown["environments"]["my"] / "bin" / "python"
    code = "import torch, six, packaging; print(torch.__version__, six.__version__)"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2.13.0+site 1.11.0\n"
    assert (
        prepare_environment(find_environment("my", root), QUIET).build.id
        == shown["environments"]["my"]
    )


def test_the_file_can_ask_for_site_packages(root, site):
    table = f'[tool.rootstock]\npython = "{site}"\nsystem-site-packages = true\n'
    table += 'site-packages = ["torch"]'
    file = add_to_root(root, dependencies='"torch", "six==1.16.0"', extra=table)
    prepare_environment(file, QUIET)
    lock = read_lock(file.writable.lock)
    assert lock.packages == {"six": "1.16.0"} and lock.site == ("torch==2.13.0+site",)


@pytest.mark.parametrize(
    ("dependencies", "options", "message"),
    [
        ('"torch>=2.14"', {"python": "SITE"}, r"needs torch>=2.14, but .* has torch 2.13.0\+site"),
        ('"torch"', {"python": "3.11"}, "name its interpreter with --python /path/to/python"),
        ('"torch"', {}, "name its interpreter"),
        # requirements of dependencies are checked, too
        (
            '"torch", "python-dateutil==2.9.0"',
            {"python": "OLD"},
            r"needs six >=1\.5, but 1\.4 is installed",
        ),
    ],
)
def test_site_packages_that_do_not_fit(root, site, dependencies, options, message, tmp_path):
    file = add_to_root(root, dependencies=dependencies)
    pythons = {"SITE": str(site)}
    if options.get("python") == "OLD":
        pythons["OLD"] = str(make_site(tmp_path / "old", six="1.4"))
    options = {name: pythons.get(value, value) for name, value in options.items()}
    with pytest.raises(BuildError, match=message):
        build_environment(file, QUIET, BuildOptions(system_site_packages=True, **options))
    assert not history(file)


TORCH_FILE = """# /// script
# requires-python = ">=3.10"
# dependencies = ["torch>=2.4", "ase>=3.23", "six==1.16.0"]
# ///
def setup(model, device):
    import six
    import torch
    from ase.calculators.lj import LennardJones

    calc = LennardJones(sigma=2.3, epsilon=0.4)
    print(torch.__file__, six.__file__, float(torch.ones(3).sum()))
    return calc
"""


def test_site_packages_with_a_real_pytorch(root, torch_root):
    """The interpreter of CHGNet's environment has PyTorch, NumPy and ASE in its site packages."""
    chgnet_root = find_root(torch_root)
    chgnet = prepare_environment(find_environment("chgnet", chgnet_root), QUIET)
    (root.writable.environments / "my_env.py").write_text(TORCH_FILE)
    file = find_environment("my", root)
    options = BuildOptions(python=str(chgnet.python), system_site_packages=True)
    build_environment(file, QUIET, options)
    lock = read_lock(file.writable.lock)
    # six is in CHGNet's environment, in the version that its plotting needs
    assert set(lock.packages) <= {"six"}
    assert any(pin.startswith("torch==2.") for pin in lock.site)
    with RootstockCalculator("my", root=root, device="cpu") as calc:
        assert calc.get_potential_energy(bulk("Cu", cubic=True)) < 0
        assert str(chgnet.python.parent.parent) in calc.log.splitlines()[0].split()[0]
        assert calc.provenance.packages["torch"].startswith("2.")
