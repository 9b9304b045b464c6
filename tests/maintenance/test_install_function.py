"""rootstock.install: names, files and folders; what it returns."""

from __future__ import annotations

import pytest

import rootstock
from rootstock.environments.builds import current_build
from rootstock.environments.discovery import find_environment
from rootstock.errors import EnvironmentFileError, UnknownNameError
from rootstock.maintenance.install import find_or_add
from tests.support.builds import QUIET
from tests.support.environment_files import add_to_root, write_environment_file

pytestmark = pytest.mark.model


def test_names_files_and_folders_are_built_in_order(root, tmp_path):
    add_to_root(root, name="first")
    folder = tmp_path / "files"
    for name in ("b", "a"):
        write_environment_file(folder, name=name)
    file = write_environment_file(tmp_path, name="aa")
    names = ("first", folder, str(file))
    built = rootstock.install(*names, root=root.path, progress=QUIET)
    assert [environment.name for environment in built] == ["first", "a", "b", "aa"]
    for environment in built:
        assert environment.python.exists()
        builds = find_environment(environment.name, root).writable.builds
        assert environment.build == current_build(builds)
        assert environment.python == builds / environment.build.id / "bin" / "python"
    times = [environment.build.folder.stat().st_mtime_ns for environment in built]
    assert rootstock.install(*names, root=root, progress=QUIET) == built
    assert [environment.build.folder.stat().st_mtime_ns for environment in built] == times


def test_all_are_read_before_one_is_built(root, tmp_path):
    add_to_root(root, name="first")
    with pytest.raises(UnknownNameError, match="nonsense"):
        rootstock.install("first", "nonsense", root=root, progress=QUIET)
    (tmp_path / "empty").mkdir()
    with pytest.raises(EnvironmentFileError, match="there is no file"):
        rootstock.install("first", tmp_path / "empty", root=root, progress=QUIET)
    assert not list(root.writable.builds.iterdir())


def test_a_folder_here_needs_no_slash(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_environment_file(tmp_path / "files", name="a")
    (tmp_path / "chgnet").mkdir()  # a name of the catalogue stays one
    assert [e.name for e in find_or_add(["files", "chgnet"], root)] == ["a", "chgnet"]
