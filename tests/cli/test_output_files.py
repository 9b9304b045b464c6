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


@pytest.mark.parametrize("name", ["out.foo", "noext"])
def test_an_unknown_format_is_refused_before_the_model_starts(
    probe_root, structure, tmp_path, name
):
    path = tmp_path / name
    result = run("run", "probe-do-raise", structure, "--root", probe_root, "-o", path)
    assert result.exit_code == 2
    assert f"ASE does not know the format of {path}" in result.stderr


def test_unpack_of_a_folder(tmp_path):
    result = run("unpack", tmp_path, "--root", tmp_path / "root")
    assert result.exit_code == 2
    assert f"{tmp_path} can't be read: it is a folder" in result.stderr
