"""rootstock run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.io import read, write

from tests.support.command_line import run
from tests.support.structures import copper


def test_run_as_json_and_as_file(probe_root, structure, tmp_path):
    output = tmp_path / "out.extxyz"
    result = run(
        "run", "probe-misbehaving", structure, "--root", probe_root, "--json", "-o", output
    )
    assert result.exit_code == 0, result.output
    shown = json.loads(result.stdout)
    assert set(shown) == {"formula", "natoms", "seconds", "results", "provenance", "written"}
    assert shown["natoms"] == 4
    assert shown["results"]["energy"] == pytest.approx(read(structure).positions.sum())
    assert np.shape(shown["results"]["forces"]) == (4, 3)
    assert shown["provenance"]["device"] == "cpu"
    written = read(output)
    assert written.get_potential_energy() == shown["results"]["energy"]
    assert written.get_forces().shape == (4, 3)


def test_run_prints_a_summary(probe_root, structure):
    result = run("run", "probe-null", structure, "--root", probe_root)
    assert result.exit_code == 0
    for word in ("Cu4", "probe-null on cpu", "eV/Å", "4 x 3"):
        assert word in result.stdout


def test_a_model_without_stress_is_fine(probe_root, structure):
    result = run("run", "probe-world", structure, "--root", probe_root, "--json")
    assert result.exit_code == 0, result.output
    assert "stress" not in json.loads(result.stdout)["results"]


def test_index_names_a_frame(probe_root, tmp_path):
    frames = [copper(n) for n in (1, 2, 3)]
    write(tmp_path / "frames.xyz", frames)

    def formula(*options):
        arguments = ["run", "probe-null", tmp_path / "frames.xyz", "--root", probe_root, "--json"]
        result = run(*arguments, *options)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["formula"]

    assert formula() == formula("--index", "2") == "Cu12"
    assert formula("--index", "0") == formula("--index", "-3") == "Cu4"


def test_many_frames(probe_root, tmp_path):
    write(tmp_path / "frames.xyz", [copper(n) for n in (1, 2, 3)])
    arguments = ["run", "probe-null", tmp_path / "frames.xyz", "--root", probe_root]
    listed = run(*arguments, "--index", "::2")
    assert listed.exit_code == 0, listed.output
    for text in ("energy / eV", "Cu4", "Cu12", "2 structures (16 atoms), probe-null"):
        assert text in listed.stdout
    assert "Cu8" not in listed.stdout
    output = tmp_path / "out.extxyz"
    written = run(*arguments, "-o", output, "--json")
    assert written.exit_code == 0, written.output
    assert json.loads(written.stdout)["structures"] == 3
    assert [len(atoms) for atoms in read(output, ":")] == [4, 8, 12]
    assert all(atoms.calc is not None for atoms in read(output, ":"))


def test_if_all_frames_fail_the_exit_code_says_so(probe_root, tmp_path):
    images = [copper(1), copper(1)]
    for atoms in images:
        atoms.positions[0] = np.nan
    write(tmp_path / "bad.traj", images)
    result = run("run", "probe-null", tmp_path / "bad.traj", "--root", probe_root, "--index", ":")
    assert result.exit_code == 7
    assert "frame 1 of" in result.stdout and "StructureError" in result.stdout


@pytest.mark.parametrize(
    ("index", "message"), [("1", "has no frame 1"), ("first", "must be frames in ASE's syntax")]
)
def test_an_index_without_a_frame(probe_root, structure, index, message):
    result = run("run", "probe-null", structure, "--root", probe_root, "--index", index)
    assert result.exit_code == 2
    assert message in result.stderr
