"""Adding environment files to a root."""

from __future__ import annotations

import pytest

from rootstock import ConfigurationError
from rootstock.errors import EnvironmentFileError
from rootstock.maintenance.add_files import add_files
from tests.support.command_line import as_json, run
from tests.support.environment_files import write_environment_file
from tests.support.paths import PROBE

pytestmark = pytest.mark.model


def test_files_are_added_all_or_none(root, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name in ("one", "two"):
        write_environment_file(folder, name=name, dependencies="")
    assert [f.name for f in add_files(root, [folder])] == ["one", "two"]
    changed = write_environment_file(folder, name="one", dependencies='"six"')
    with pytest.raises(ConfigurationError, match=r"differs from .* use --force"):
        add_files(root, [changed])
    add_files(root, [changed], replace=True)
    assert (root.writable.environments / "one_env.py").read_bytes() == changed.read_bytes()
    broken = folder / "broken_env.py"
    broken.write_text("def setup(:")
    with pytest.raises(EnvironmentFileError):
        add_files(root, [write_environment_file(folder, name="three"), broken])
    assert not (root.writable.environments / "three_env.py").exists()
    with pytest.raises(EnvironmentFileError, match=r"must be called NAME_env\.py"):
        add_files(root, [PROBE.with_name("probe.py")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(EnvironmentFileError, match=r"there is no file NAME_env\.py"):
        add_files(root, [tmp_path / "empty"])


def test_new_writes_a_file_that_works(tmp_path, root):
    as_json("new", "own", "--folder", tmp_path)
    (file,) = add_files(root, [tmp_path / "own_env.py"])
    assert file.file.summary == "own: one-line summary, printed by rootstock list."
    assert run("new", "own", "--folder", tmp_path).exit_code == 2
    assert run("new", "a/b").exit_code == 2
