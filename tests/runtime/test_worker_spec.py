"""WorkerSpec: it pickles, compares, hashes and prints, and holds to its pinned build."""

from __future__ import annotations

import ast
import dataclasses
import multiprocessing
import pickle

import pytest

from rootstock import ConfigurationError, StartupError, WorkerSpec, prepare
from rootstock.environments.discovery import find_environment
from rootstock.runtime.arguments import make_spec
from rootstock.runtime.session import Session
from rootstock.settings.root import Root
from rootstock.testing import fake_environment
from tests.support.environment_files import add_to_root
from tests.support.fake_builds import add_fake_build
from tests.support.processes import worker_pids

OPTIONS = {"head": "a", "numbers": [1, 2.5], "nested": {"x": None}}


def spec_of(root, **arguments) -> WorkerSpec:
    return make_spec("probe-null", root=root, **arguments)


@pytest.fixture
def spec(probe_root) -> WorkerSpec:
    return spec_of(probe_root, device="cuda:1", setup_kwargs=OPTIONS, threads=2, timeout=5)


def test_it_pickles(spec):
    spec.environment.file.requirements_digest  # a cached property is not in the way
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(spec, protocol))
        assert copy == spec
        assert hash(copy) == hash(spec)
        assert copy.setup_options == OPTIONS
        assert (
            copy.environment.file.requirements_digest == spec.environment.file.requirements_digest
        )
        assert copy.environment.file.settings == spec.environment.file.settings


def _described(spec: WorkerSpec) -> tuple:
    return spec, hash(spec) == hash(pickle.loads(pickle.dumps(spec))), spec.environment.name


def test_it_crosses_to_another_process(spec):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_described, [spec]) == (spec, True, "probe")
        pool.close()
        pool.join()


def test_equal_arguments_make_equal_specs(probe_root, spec):
    again = spec_of(
        str(probe_root),
        device="cuda:1",
        setup_kwargs=dict(reversed(OPTIONS.items())),
        threads=2,
        timeout=5.0,
    )
    assert again == spec
    assert len({again, spec}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"model": "probe-other"},
        {"argument": "other"},
        {"device": "cuda:0"},
        {"options": "{}"},
        {"threads": None},
        {"timeout": None},
        {"startup_timeout": 1.0},
        {"offline": True},
        {"record_opened_files": False},
        {"build": "another"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_value_makes_another_spec(spec, change):
    other = dataclasses.replace(spec, **change)
    assert other != spec
    assert len({other, spec}) == 2


def test_an_edited_environment_file_makes_another_spec(tmp_path):
    root = Root(tmp_path)
    add_to_root(root, name="probe")
    before = spec_of(root)
    add_to_root(root, name="probe", body="# edited")
    assert spec_of(root) != before


def test_it_prints(spec):
    shown = repr(spec)
    assert shown.startswith("WorkerSpec(model='probe-null', environment=")
    for part in ("argument='null'", "device='cuda:1'", "threads=2", "build=None", "probe_env.py"):
        assert part in shown
    assert str(spec) == shown
    assert "\n" not in shown


def test_it_is_frozen_and_holds_plain_data_only(spec):
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.device = "cpu"
    plain = (str, int, float, bool, type(None))
    values = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec)}
    assert all(isinstance(v, plain) for name, v in values.items() if name != "environment")
    assert ast.literal_eval(spec.options.replace("null", "None")) == OPTIONS


# --- the pinned build -----------------------------------------------------------------------------


def test_a_spec_that_is_not_prepared_starts_nothing(probe_root):
    before = worker_pids()
    with pytest.raises(ConfigurationError, match=r"not prepared: call rootstock\.prepare\(spec\)"):
        Session(spec_of(probe_root)).report()
    assert worker_pids() == before


def test_another_build_of_that_name_refuses(built_probe_root):
    """As on another machine, or after an upgrade and a collection."""
    prepared = prepare("probe-null", root=built_probe_root, device="cpu")
    elsewhere = dataclasses.replace(prepared, build="0123456789abcdef")
    before = worker_pids()
    with pytest.raises(StartupError) as caught:
        Session(elsewhere).report()
    message = str(caught.value)
    assert "build 0123456789abcdef of the environment 'probe', which this run uses" in message
    assert f"has build {prepared.build}." in message
    assert "Make a new calculator" in message and "rootstock history probe" in message
    assert worker_pids() == before


def test_a_build_that_is_not_current_any_more_is_used_all_the_same(tmp_path):
    root = Root(tmp_path)
    path = root.writable.environments / "fake_env.py"
    path.parent.mkdir()
    path.write_text(fake_environment().read_text())
    environment = find_environment("fake", root)
    old = add_fake_build(environment, "old", current=True)
    spec = dataclasses.replace(make_spec("fake-null", root=root, device="cpu"), build="old")
    add_fake_build(environment, "new", current=True)
    session = Session(spec)
    try:
        session.report()
        assert session.provenance.build == "old" == old.id
    finally:
        session.close()
    old.python.unlink()  # a build without its interpreter is gone
    with pytest.raises(StartupError, match=r"build old .* is gone"):
        Session(spec).report()


def test_an_unpickled_calculator_is_prepared_anew(make):
    """Where it is loaded the root may have another build."""
    calc = make()
    calc.report
    assert calc.spec.build is not None
    copy = pickle.loads(pickle.dumps(calc))
    assert copy.spec.build is None
    assert copy.spec == dataclasses.replace(calc.spec, build=None)
    copy.report
    assert copy.spec == calc.spec
    copy.close()
