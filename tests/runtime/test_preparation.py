"""Preparing builds once and pins the build; starting a worker never builds."""

from __future__ import annotations

import dataclasses
import pickle
import shutil

import pytest

import rootstock.calculator
from rootstock import ConfigurationError, RootstockCalculator, prepare
from rootstock.environments import build as build_module
from rootstock.environments.builds import all_builds
from rootstock.environments.discovery import find_environment, read_again
from rootstock.environments.uv import Uv
from rootstock.environments.weights import WeightsFile, make_record, write_record
from rootstock.errors import StartupError, UnknownArgumentError
from rootstock.runtime import preparation
from rootstock.runtime.arguments import make_spec
from rootstock.runtime.session import Session
from rootstock.settings.root import Root
from rootstock.structures import from_atoms
from rootstock.testing import fake_environment
from tests.support.builds import QUIET
from tests.support.environment_files import add_to_root
from tests.support.fake_builds import add_fake_build
from tests.support.scripts import output_of
from tests.support.structures import copper


@pytest.fixture
def root(tmp_path) -> Root:
    """A root with the file of the fake models and no build."""
    root = Root(tmp_path / "root")
    root.create()
    (root.writable.environments / "fake_env.py").write_text(fake_environment().read_text())
    return root


@pytest.fixture
def no_builds(monkeypatch):
    """Make every way to a build an error."""

    def refuse(*arguments, **options):
        pytest.fail("something was built")

    for module, name in (
        (build_module, "_build"),
        (build_module, "build_environment"),
        (build_module, "prepare_environment"),
        (preparation, "prepare_environment"),
        (Uv, "run"),
    ):
        monkeypatch.setattr(module, name, refuse)


def pinned_spec(root: Root, model: str = "fake-null", build_id: str = "old"):
    """Return a spec that is pinned to a new build."""
    add_fake_build(find_environment("fake", root), build_id)
    return dataclasses.replace(make_spec(model, root=root, device="cpu"), build=build_id)


@pytest.mark.model
def test_it_builds_once_and_pins_the_build(root, monkeypatch):
    calls = []
    original = build_module._build

    def counting(*arguments):
        calls.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(build_module, "_build", counting)
    environment = add_to_root(root)  # without dependencies
    unprepared = make_spec("my", root=root)
    assert unprepared.build is None
    first = prepare("my", progress=QUIET, root=root)
    second = prepare(unprepared, progress=QUIET)
    assert len(calls) == 1
    assert first == second == dataclasses.replace(unprepared, build=first.build)
    (built,) = all_builds(environment.writable.builds)
    assert built.id == first.build


def test_a_prepared_spec_is_returned_as_it_is(root, no_builds):
    spec = pinned_spec(root)
    assert prepare(spec) is spec
    # although another build has become the current one
    add_fake_build(spec.environment, "new", current=True)
    assert prepare(spec) is spec


def test_a_session_starts_and_restarts_without_building(root, no_builds):
    spec = pinned_spec(root)
    session = Session(spec)
    try:
        pid = session.report().pid
        session.stop()
        (results,) = session.evaluate([from_atoms(copper())], ["energy"])
        assert results["energy"] == 0.0
        assert session.report().pid != pid
    finally:
        session.close()


def test_a_session_does_not_build_when_the_file_asks_for_more(root, no_builds):
    spec = pinned_spec(root)
    path = spec.environment.file.path
    path.write_text(path.read_text().replace('"ase>=3.22.1"', '"ase>=3.22.1", "six"'))
    edited = find_environment("fake", root)
    assert edited.file.requirements_digest != spec.environment.file.requirements_digest
    session = Session(dataclasses.replace(spec, environment=edited))
    try:
        assert session.provenance.build == "old"
    finally:
        session.close()


def test_a_calculator_prepares_once(make, monkeypatch):
    prepared = []
    original = preparation.prepare

    def counting(*arguments, **options):
        prepared.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(rootstock.calculator, "prepare", counting)
    calc = make()
    assert prepared == []  # not before the first need
    calc.get_potential_energy(copper())
    calc.close()
    calc.get_potential_energy(copper(1))
    assert len(prepared) == 1


def test_a_calculator_and_prepare_pin_the_same_build(make, built_probe_root):
    calc = make("probe-null", threads=1)
    calc.report
    assert calc.spec == prepare("probe-null", root=built_probe_root, device="cpu", threads=1)


def test_each_start_links_the_weights_of_a_read_only_root(root, tmp_path):
    spec = pinned_spec(root, "fake-null")
    weights = root.shared.cache / "fake" / "weights.bin"
    weights.parent.mkdir()
    weights.write_bytes(b"1234")
    file = WeightsFile("cache/fake/weights.bin", 4, "ab" * 32)
    write_record(root, make_record("fake", "null", "old", (file,)))
    add_fake_build(spec.environment, "new", current=True)
    layered = Root(root.path, user_layer=tmp_path / "user layer")
    prepared = prepare("fake-null", root=layered)
    assert prepared.build == "new"  # of the shared root: its maintainer decides
    assert prepared.offline
    link = layered.writable.path / file.path
    session = Session(prepared)
    try:
        for _ in range(2):  # the user may clean their layer in between
            session.report()
            assert link.is_symlink() and link.samefile(weights)
            session.stop()
            shutil.rmtree(layered.writable.path)
            session._report = None
    finally:
        session.close()


def test_a_file_that_was_edited_after_it_was_prepared_is_refused(root):
    spec = pinned_spec(root)
    path = spec.environment.file.path
    path.write_text(path.read_text() + "\n# edited\n")
    session = Session(spec)
    try:
        with pytest.raises(StartupError, match=r"fake_env\.py was edited since model 'fake-null'"):
            session.report()
    finally:
        session.close()


def test_an_unprepared_spec_uses_the_file_as_it_is_when_it_is_prepared(root, no_builds):
    """As after a pickle: the root's file and build were replaced in the meantime."""
    unprepared = make_spec("fake-null", root=root)
    path = unprepared.environment.file.path
    path.write_text(path.read_text() + "\n# edited\n")
    edited = find_environment("fake", root)
    assert read_again(unprepared.environment) == edited != unprepared.environment
    assert read_again(edited) is edited


def test_a_prepared_build_is_spared_until_the_process_ends(root, no_builds):
    spec = pinned_spec(root)
    add_fake_build(spec.environment, "new", current=True)
    code = """
import pickle, sys
from rootstock import prepare
from rootstock.environments.pins import pinned_builds
spec = pickle.loads(bytes.fromhex(sys.argv[1]))
prepare(prepare(spec))
print(*[path.name for path in pinned_builds(spec.root.writable)])
"""
    assert output_of(code, pickle.dumps(spec).hex()).strip() == "old"
    assert list((root.writable.records / "pins").iterdir()) == []


# --- what it is given -----------------------------------------------------------------------------


def test_a_spec_takes_no_arguments(root):
    spec = make_spec("fake-null", root=root)
    with pytest.raises(ConfigurationError, match=r"device, threads: use dataclasses\.replace"):
        prepare(spec, device="cpu", threads=1)


def test_a_misspelt_argument(root):
    with pytest.raises(UnknownArgumentError, match="did you mean 'threads'"):
        prepare("fake-null", root=root, thread=1)


def test_arguments_that_are_not_the_calculators(root):
    """Of a function below it."""
    with pytest.raises(TypeError, match="'check_weights'"):
        prepare("fake-null", root=root, check_weights=False)
    with pytest.raises(TypeError, match="'check_weights'"):
        RootstockCalculator("fake-null", root=root, check_weights=False)
