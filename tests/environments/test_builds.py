"""Several builds of an environment: which build is used, kept or repeated."""

from __future__ import annotations

import pytest

from rootstock import BuildError
from rootstock.environments.build import prepare_environment
from rootstock.environments.model_strings import resolve
from rootstock.support.progress import Progress
from tests.support.builds import build, leftovers

pytestmark = pytest.mark.model


def test_changed_dependencies_make_a_new_build_and_keep_pins(root):
    first = build(root, dependencies='"six==1.16.0"')
    second = build(root, dependencies='"six==1.16.0", "attrs==23.1.0"')
    assert second.build.id != first.build.id
    assert first.python.exists()  # a running worker keeps its build
    assert build(root, dependencies='"six==1.16.0", "attrs==23.1.0"').build.id == second.build.id


def test_earlier_dependencies_reuse_their_build(root):
    first = build(root, dependencies='"six==1.16.0"')
    modified = (first.python.parent.parent / "rootstock.json").stat().st_mtime_ns
    second = build(root, dependencies='"six==1.15.0"')
    assert second.build.id != first.build.id
    assert build(root, dependencies='"six==1.16.0"') == first
    assert (first.python.parent.parent / "rootstock.json").stat().st_mtime_ns == modified
    assert not leftovers(root)


def test_a_catalogue_file_is_copied_into_the_root_once_it_is_built(root, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(root.path / "empty cache"))
    environment = resolve("emt", root)[0]
    with pytest.raises(BuildError):
        prepare_environment(environment, Progress())
    assert not list(root.writable.environments.glob("*_env.py"))
    monkeypatch.undo()
    built = prepare_environment(environment, Progress())
    assert built.environment.file.path == (root.writable.environments / "emt_env.py")
    assert (
        root.writable.environments / "emt_env.py"
    ).read_bytes() == environment.file.path.read_bytes()
    assert resolve("emt", root)[0] == built.environment


def test_a_failed_build_keeps_the_previous_build(root):
    first = build(root, dependencies='"six==1.16.0"')
    with pytest.raises(BuildError):
        build(root, dependencies='"six==99"')
    assert first.python.exists()
    assert build(root, dependencies='"six==1.16.0"') == first


def test_an_environment_whose_interpreter_vanished_is_built_again(root):
    first = build(root, dependencies='"six"')
    first.python.unlink()
    assert build(root, dependencies='"six"').python.exists()
