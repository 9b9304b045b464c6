"""What the identity of a model depends on, and what it does not."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from dataclasses import replace

import pytest

from rootstock import find_root, prepare
from rootstock.environments.environment import Environment
from rootstock.environments.environment_file import read_environment_file
from rootstock.environments.weights import WeightsFile, make_record, write_record
from rootstock.protocol.data import WorkerReport
from rootstock.runtime.arguments import make_spec
from rootstock.runtime.provenance import ModelIdentity, identify
from rootstock.testing import fake_environment
from tests.support.fake_builds import add_fake_build

SOURCE = fake_environment().read_text()


def make_root(path, source: str = SOURCE, lock: str = "lock"):
    """Return a root with the environment ``fake`` and a build of it."""
    root = find_root(path)
    root.create()
    file = root.writable.environments / "fake_env.py"
    file.write_text(source)
    environment = Environment.of(read_environment_file(file, "fake", "root"), root)
    add_fake_build(environment, f"build-of-{lock}", lock=lock, current=True)
    return root


def spec_of(root, model: str = "fake-null", lock: str = "lock", **arguments):
    spec = make_spec(model, root=root, **arguments)
    return dataclasses.replace(spec, build=f"build-of-{lock}")


@pytest.fixture
def root(tmp_path):
    return make_root(tmp_path / "root")


@pytest.fixture
def digest(root) -> str:
    return identify(spec_of(root)).digest


def test_a_digest_is_repeatable_and_one_of_a_frozen_record(root, digest):
    identity = identify(spec_of(root))
    assert identity.digest == digest
    assert len(digest) == 64
    assert hash(identity) == hash(identify(spec_of(root)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        identity.lock = ""


def test_every_field_is_in_the_digest():
    identity = ModelIdentity("mace", "s", "l", "medium", "{}", (("a", "1"),))
    changed = [
        dataclasses.replace(identity, **{field.name: value})
        for field in dataclasses.fields(identity)
        for value in ("other", (("a", "2"),), (("b", "1"),))
        if (field.name == "weights") == isinstance(value, tuple)
    ]
    assert len(changed) == 7
    assert len({identity.digest, *(other.digest for other in changed)}) == 8


# --- what counts ----------------------------------------------------------------------------------


def test_the_source_counts(tmp_path, digest):
    """Although requirements, and so lock and build, are the same."""
    edited = make_root(tmp_path / "edited", SOURCE + "\n# a comment\n")
    assert identify(spec_of(edited)).digest != digest


def test_the_lock_counts(tmp_path, digest):
    other = make_root(tmp_path / "other", lock="another lock")
    assert identify(spec_of(other, lock="another lock")).digest != digest


def test_the_lock_is_the_pinned_builds(root, digest):
    """Whatever was built since the spec was prepared."""
    spec = spec_of(root)
    add_fake_build(spec.environment, "newer", lock="another lock", current=True)
    assert identify(spec).digest == digest
    assert identify(dataclasses.replace(spec, build="newer")).lock == "another lock"


def test_the_argument_counts(root, digest):
    assert identify(spec_of(root, "fake-reference")).digest != digest


def test_the_options_count(root, digest):
    options = {"head": "a", "dtype": "float32"}
    first = identify(spec_of(root, setup_kwargs=options)).digest
    assert first != digest
    assert identify(spec_of(root, setup_kwargs={**options, "head": "b"})).digest != first
    in_another_order = dict(reversed(options.items()))
    assert identify(spec_of(root, setup_kwargs=in_another_order)).digest == first


def test_recorded_weights_count(root, digest):
    def with_weights(content: bytes) -> str:
        (root.path / "cache" / "a.pt").write_bytes(content)
        return identify(spec_of(root)).digest

    (root.path / "cache" / "a.pt").write_bytes(b"aaaa")
    files = (WeightsFile("cache/a.pt", 4, hashlib.sha256(b"aaaa").hexdigest()),)
    write_record(root, make_record("fake", "null", "build", files))
    first = with_weights(b"aaaa")
    assert first != digest
    assert with_weights(b"bbbb") not in (first, digest)  # although the record says otherwise
    assert with_weights(b"aaaa") == first


def test_weights_that_were_not_fetched_count_once_they_are_loaded(root, digest):
    report = WorkerReport(("energy",), "cpu", "a.Calculator", "3.11", {})
    assert identify(spec_of(root)).weights is None
    assert identify(spec_of(root), report).weights == ()
    path = root.path / "cache" / "a.pt"
    digests = {digest, identify(spec_of(root), report).digest}
    for content in (b"aaaa", b"bbbb"):
        path.write_bytes(content)
        digests.add(identify(spec_of(root), replace(report, opened=(str(path),))).digest)
    assert len(digests) == 4


def test_a_path_in_the_options_counts_by_its_content(root, tmp_path):
    def with_weights(folder: str, content: bytes) -> ModelIdentity:
        path = tmp_path / folder / "mine.pt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return identify(spec_of(root, setup_kwargs={"weights": str(path)}))

    first = with_weights("a", b"mine")
    assert first.options == '{"weights":"mine.pt"}'
    assert first.digest == with_weights("b", b"mine").digest
    assert first.digest != with_weights("a", b"more").digest


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("content", [b"same", b"longer"])
def test_a_path_whose_file_was_overwritten_is_another_model(root, tmp_path, content, in_place):
    weights = tmp_path / "mine.pt"
    weights.write_bytes(b"mine")
    spec = spec_of(root, f"fake-{weights}")
    before = identify(spec)
    assert before.argument == "mine.pt"
    assert before.weights == (("mine.pt", hashlib.sha256(b"mine").hexdigest()),)
    if in_place:
        weights.write_bytes(content)
    else:
        (tmp_path / "new").write_bytes(content)
        (tmp_path / "new").replace(weights)
    after = identify(spec)
    assert after.weights == (("mine.pt", hashlib.sha256(content).hexdigest()),)
    assert after.digest != before.digest


def test_a_folder_whose_file_was_overwritten_is_another_model(root, tmp_path):
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "a.pt").write_bytes(b"aaaa")
    spec = spec_of(root, f"fake-{folder}")
    before = identify(spec)
    assert before.argument == "my model"
    assert [name for name, _ in before.weights] == ["my model"]
    (folder / "a.pt").write_bytes(b"another")
    assert identify(spec).digest != before.digest


# --- what does not --------------------------------------------------------------------------------


def test_the_root_does_not_count(tmp_path, digest):
    assert identify(spec_of(make_root(tmp_path / "elsewhere"))).digest == digest


def test_the_folder_of_a_users_own_weights_does_not_count(root, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "mine.pt").write_bytes(b"mine")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    digests = [
        identify(spec_of(root, f"fake-{tmp_path / name}/mine.pt")).digest for name in ("a", "b")
    ]
    digests += [identify(spec_of(root, f"fake-{tmp_path / 'a'}/../b/mine.pt")).digest]
    assert len(set(digests)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cuda:1"},
        {"device": "cpu"},
        {"threads": 4},
        {"timeout": 5.0},
        {"startup_timeout": None},
        {"offline": True},
        {"record_opened_files": True},
    ],
)
def test_how_it_runs_does_not_count(root, digest, change):
    assert identify(dataclasses.replace(spec_of(root), **change)).digest == digest


def test_the_same_lock_built_twice_does_not_count(root, digest):
    spec = spec_of(root)
    add_fake_build(spec.environment, "again", lock="lock")
    assert identify(dataclasses.replace(spec, build="again")).digest == digest


def test_the_provenance_names_the_identity(make, probe_root):
    calc = make("probe-null")
    identity = calc.provenance.identity
    spec = prepare("probe-null", root=probe_root, threads=3)
    assert identity == identify(spec, calc.report).digest
    assert calc.provenance.lock == identify(spec).lock != ""
