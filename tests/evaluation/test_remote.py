"""The sessions that an executor's process keeps."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from rootstock import StartupError, evaluate, prepare
from rootstock.environments.discovery import find_environment
from rootstock.evaluation import remote
from rootstock.evaluation.pool import PoolOptions
from rootstock.settings.root import Root
from rootstock.structures import from_atoms
from tests.support.fake_builds import add_fake_build, root_with_fake_build
from tests.support.paths import TESTS
from tests.support.processes import wait_for_no_workers, worker_pids
from tests.support.scripts import output_of
from tests.support.structures import copper
from tests.support.waiting import wait_until

MODEL = (TESTS / "support" / "batch_env.py").read_text()

#: A model whose energy is the mask of its worker.
REPORTS_ITS_MASK = """
import os
from ase.calculators.calculator import Calculator, all_changes

class Mask(Calculator):
    implemented_properties = ["energy"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": float(os.environ.get("CUDA_VISIBLE_DEVICES", "-1"))}

def setup(model, device):
    return Mask()
"""
HEADER = '# /// script\n# requires-python = ">=3.9"\n# dependencies = ["ase>=3.22.1"]\n# ///\n'


@pytest.fixture(autouse=True)
def _no_kept_sessions():
    yield
    remote.close_sessions()


@pytest.fixture
def root(tmp_path) -> Root:
    """A root with the springs of ``batch_env.py``."""
    return root_with_fake_build(tmp_path, "springs", MODEL)


@pytest.fixture
def request_for():
    """Return a request for one structure."""

    def request_for(spec, **info):
        atoms = copper(1)
        atoms.info.update(info)
        return remote.Request(spec, PoolOptions(), ((7, from_atoms(atoms)),))

    return request_for


@pytest.fixture
def spec(root):
    """Of the springs."""
    return prepare("springs", root=root, device="cpu")


def test_a_reply(spec, request_for):
    reply = remote.evaluate_elsewhere(request_for(spec))
    ((index, results, provenance),) = reply.outcomes
    assert index == 7
    assert {"energy", "forces", "stress"} == set(results)
    assert provenance == remote.provenance_elsewhere(spec)
    assert reply.error is None
    assert 0 < reply.seconds < 60


def test_a_session_ends_when_it_is_idle_and_starts_again(spec, request_for, monkeypatch):
    monkeypatch.setattr(remote, "IDLE_SECONDS", 0.3)
    for _ in range(2):
        assert not worker_pids()
        assert remote.evaluate_elsewhere(request_for(spec)).outcomes
        assert len(worker_pids()) == 1
        assert wait_for_no_workers()
    assert wait_until(lambda: "rootstock-idle" not in {t.name for t in threading.enumerate()})


def test_a_session_in_use_does_not_end(spec, request_for, monkeypatch):
    monkeypatch.setattr(remote, "IDLE_SECONDS", 0.05)
    pids = set()
    with remote._kept_session(spec).in_use() as kept:
        pids.add(kept.session.start().pid)
        assert not wait_until(lambda: not worker_pids(), within=0.3)
    assert wait_for_no_workers()


def test_each_model_has_a_session(root, request_for):
    for model in ("springs", "springs-slow"):
        spec = prepare(model, root=root, device="cpu")
        for _ in range(2):
            remote.evaluate_elsewhere(request_for(spec))
    assert len(worker_pids()) == 2
    remote.close_sessions()
    remote.close_sessions()
    assert not worker_pids()


def test_sessions_are_closed_while_a_chunk_is_evaluated(spec, monkeypatch):
    """The chunk goes on: its worker is replaced like one that died."""
    monkeypatch.setattr(remote, "_PATIENCE", 0.1)
    images = tuple((n, from_atoms(copper(1))) for n in range(200))
    request = remote.Request(
        replace(spec, argument="slow", model="springs-slow"), PoolOptions(exact=True), images
    )
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(remote.evaluate_elsewhere, request)
        assert wait_until(lambda: remote._kept_session(request.spec).session.started)
        remote.close_sessions()
        assert len(future.result().outcomes) == 200


EXIT = """
import pathlib, sys
from concurrent.futures import ThreadPoolExecutor
from ase.build import bulk
import rootstock
root = rootstock.Root(pathlib.Path(sys.argv[1]), user_layer=pathlib.Path(sys.argv[2]))
with ThreadPoolExecutor(1) as executor:
    (found,) = rootstock.evaluate([bulk("Cu")], "springs", root=root, device="cpu",
                                  executor=executor, progress=False)
print(found.ok)
"""


def test_sessions_end_with_the_process(root):
    assert output_of(EXIT, root.path, root.user_layer) == "True\n"
    assert wait_for_no_workers()
    pins = root.writable.records / "pins"
    assert not list(pins.glob("*.json"))


def test_a_forked_process_has_sessions_of_its_own(spec, request_for):
    remote.evaluate_elsewhere(request_for(spec))
    (pid,) = worker_pids()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            reply = remote.evaluate_elsewhere(request_for(spec))
            own = remote._kept_session(spec).session.report().pid
            status = 0 if reply.outcomes and own != pid else 2
            remote.close_sessions()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert worker_pids() == {pid}


def test_the_mask_that_an_engine_sets_is_honoured(tmp_path, monkeypatch):
    root = root_with_fake_build(tmp_path, "mask", HEADER + REPORTS_ITS_MASK)
    energies = []
    with ThreadPoolExecutor(1) as executor:
        for mask in ("3", "3", "5"):
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
            (found,) = evaluate(
                [copper(1)], "mask", root=root, device="cpu", executor=executor, progress=False
            )
            energies.append(found.results["energy"])
            assert len(worker_pids()) == 1
    assert energies == [3.0, 3.0, 5.0]


def test_a_machine_whose_root_has_another_build_refuses(root, spec, request_for):
    """Both build ids are in the error, and the machine."""
    environment = find_environment("springs", Root(root.path))
    (root.path / "envs" / "springs" / "build").rename(root.path / "envs" / "elsewhere")
    add_fake_build(environment, "other", current=True)
    with ThreadPoolExecutor(1) as executor:
        with pytest.raises(StartupError, match=r"build build of .* on \S+ has build other\."):
            list(evaluate([copper(1)], spec, executor=executor, progress=False))
    error = remote.provenance_elsewhere(spec)
    assert isinstance(error, StartupError)
    assert "rootstock unpack" in str(error)
