"""Files that a command can't write."""

from __future__ import annotations

import pytest

from tests.support.command_line import run


@pytest.fixture(params=["missing", "file"])
def folder(request, tmp_path):
    """The path of a folder that can't have files: there is none, or it is a file."""
    path = tmp_path / request.param
    if request.param == "file":
        path.touch()
    return path


REASONS = {"missing": "the folder does not exist", "file": "a part of the path is a file"}


def check(result, path, advice):
    assert result.exit_code == 5, result.output
    assert f"{path} can't be written: {REASONS[path.parent.name]}. {advice}" in result.stderr
    assert not path.exists()


def test_run(probe_root, structure, folder):
    path = folder / "out.extxyz"
    result = run("run", "probe-null", structure, "--root", probe_root, "-o", path)
    check(result, path, "Choose another file with -o")


def test_new(folder):
    path = folder / "own_env.py"
    check(run("new", "own", "--folder", folder), path, "Choose another --folder")


def test_pack(built_probe_root, folder):
    path = folder / "probe.tar"
    result = run("pack", "probe", "--root", built_probe_root, "-o", path)
    check(result, path, "Choose another file with -o")
