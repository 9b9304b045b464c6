"""Fixtures: roots, calculators, and checks that no process or descriptor is left behind."""

from __future__ import annotations

import gc
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from rootstock import RootstockCalculator
from rootstock.environments.build import prepare_environment
from rootstock.environments.discovery import find_environment
from rootstock.settings.root import Root
from tests.support.builds import QUIET
from tests.support.paths import BIN, PROBE
from tests.support.processes import MARK, worker_pids
from tests.support.structures import copper

TORCH = "torch==2.13.0"


def pytest_collection_modifyitems(config, items):
    """Deselect some tests unless -m names them; an -m in the settings would replace the user's."""
    for marker in ("slow", "integration"):
        if marker not in config.option.markexpr:
            chosen = [item for item in items if marker in item.keywords]
            config.hook.pytest_deselected(items=chosen)
            items[:] = [item for item in items if marker not in item.keywords]


@pytest.fixture(scope="session", autouse=True)
def _own_settings(tmp_path_factory):
    """Keep the user's settings out."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("config")
        patch.setenv("XDG_CONFIG_HOME", str(folder))
        patch.setenv("XDG_CONFIG_DIRS", str(folder / "site"))
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        patch.setenv(*MARK.decode().split("="))
        for name in ("ROOTSTOCK_ROOT", "ROOTSTOCK_CONFIG", "ROOTSTOCK_USER_LAYER"):
            patch.delenv(name, raising=False)
        yield


# --- nothing is left behind -----------------------------------------------------------------------


@pytest.fixture(autouse=True, scope="session")
def _nothing_left_at_all():
    """Fail the session if it leaves a worker behind."""
    yield
    _no_new_workers(set())


@pytest.fixture(autouse=True)
def _nothing_left(request):
    """Fail a test that leaves a worker, one of its helpers or a descriptor behind."""
    if "model" in request.keywords:  # these share calculators over a module
        yield
        return
    before, descriptors = worker_pids(), set(os.listdir("/proc/self/fd"))
    yield
    _no_new_workers(before)
    if len(set(os.listdir("/proc/self/fd")) - descriptors) > 1:
        gc.collect()
    extra = set(os.listdir("/proc/self/fd")) - descriptors
    assert len(extra) <= 1, f"descriptors were left open: {extra}"  # listdir's own


def _no_new_workers(before: set[int]) -> None:
    deadline = time.monotonic() + 5
    while (remaining := worker_pids() - before) and time.monotonic() < deadline:
        gc.collect()  # a calculator in a traceback or a cycle still holds its worker
        time.sleep(0.05)
    assert not remaining, f"workers were left behind: {remaining}"


@pytest.fixture
def no_temporary_files(tmp_path, monkeypatch):
    """Fail a test that leaves a temporary file behind."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert not list(folder.iterdir())


@pytest.fixture(params=[0o077, 0o022], ids=oct)
def callers_umask(request):
    """The umask of this process during the test."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


# --- roots ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def session_root(tmp_path_factory) -> Path:
    """One root for all tests that need built environments; ROOTSTOCK_TEST_ROOT names one to keep."""
    named = os.environ.get("ROOTSTOCK_TEST_ROOT")
    return Path(named) if named else tmp_path_factory.mktemp("root")


@pytest.fixture(scope="session")
def probe_root(session_root: Path) -> Path:
    """The session's root, with the probe environment in it."""
    folder = session_root / "environments"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROBE, folder / "probe_env.py")
    return session_root


@pytest.fixture
def built_probe_root(probe_root: Path) -> Path:
    """The session's root, with the probe environment built."""
    root = Root(probe_root)
    prepare_environment(find_environment("probe", root), QUIET)
    return probe_root


@pytest.fixture
def user_layer(built_probe_root: Path, tmp_path: Path) -> Root:
    """A user's layer over the session's root, so that nothing has to be built again."""
    return Root(built_probe_root, user_layer=tmp_path / "user_layer")


@pytest.fixture(scope="session")
def torch_root(session_root, tmp_path_factory):
    """The session's root, with uv set up to install a small CPU build of PyTorch."""
    with pytest.MonkeyPatch.context() as patch:
        if _reachable("download.pytorch.org"):
            patch.setenv("UV_TORCH_BACKEND", "cpu")
        else:
            _use_pip_wheel(tmp_path_factory.mktemp("wheels"), patch)
        yield session_root


def _reachable(host: str) -> bool:
    try:
        socket.create_connection((host, 443), timeout=5).close()
    except OSError:
        return False
    return True


def _use_pip_wheel(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Use the CPU wheel that pip finds: it may know another index than PyTorch's."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", TORCH, "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("torch-*.whl"))
    if done.returncode or not wheels:
        warnings.warn(f"no PyTorch wheel through pip: {done.stderr}", stacklevel=1)
        return
    constraint = folder / "constraint.txt"
    constraint.write_text(TORCH + "\n")
    links = [os.environ["UV_FIND_LINKS"]] if "UV_FIND_LINKS" in os.environ else []
    patch.setenv("UV_FIND_LINKS", ",".join([*links, str(folder)]))
    patch.setenv("UV_CONSTRAINT", str(constraint))
    patch.setenv("UV_TORCH_BACKEND", "")
    tag = re.search(r"-cp(\d)(\d+)-", wheels[0].name)
    if tag:
        patch.setenv("UV_PYTHON", f"{tag[1]}.{tag[2]}")


@pytest.fixture
def user_variables(probe_root, torch_root) -> dict[str, str]:
    """Variables of a program that a user starts."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "ROOTSTOCK_ROOT": str(torch_root), "OMP_NUM_THREADS": "1"}


# --- calculators ----------------------------------------------------------------------------------


@pytest.fixture
def make(probe_root):
    """Make calculators of the probe environment; all are closed at the end."""
    calculators = []

    def make_calculator(model: str = "probe-null", **options) -> RootstockCalculator:
        calc = RootstockCalculator(model, root=probe_root, device="cpu", **options)
        calculators.append(calc)
        return calc

    yield make_calculator
    for calc in calculators:
        calc.close()


@pytest.fixture(scope="module")
def reference(probe_root):
    """A calculator whose results depend on everything that a model may read."""
    with RootstockCalculator("probe-reference", root=probe_root) as calc:
        calc.report
        yield calc


@pytest.fixture
def misbehaving(make):
    """Atoms whose model fails when ``info["do"]`` says so; its worker runs."""
    atoms = copper()
    atoms.calc = make("probe-misbehaving")
    atoms.get_forces()
    return atoms
