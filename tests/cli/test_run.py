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


@pytest.mark.parametrize(
    ("index", "message"), [("1", "has no frame 1"), ("first", "must be the number of one frame")]
)
def test_an_index_without_a_frame(probe_root, structure, index, message):
    result = run("run", "probe-null", structure, "--root", probe_root, "--index", index)
    assert result.exit_code == 2
    assert message in result.stderr
