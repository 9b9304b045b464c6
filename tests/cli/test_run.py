"""rootstock run."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.io import read

from tests.support.command_line import run


def test_run_as_json_and_as_file(probe_root, structure, tmp_path):
    output = tmp_path / "out.extxyz"
    done = run("run", "probe-misbehaving", structure, "--root", probe_root, "--json", "-o", output)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert set(found) == {"formula", "natoms", "seconds", "results", "provenance", "written"}
    assert found["natoms"] == 4
    assert found["results"]["energy"] == pytest.approx(read(structure).positions.sum())
    assert np.shape(found["results"]["forces"]) == (4, 3)
    assert found["provenance"]["device"] == "cpu"
    written = read(output)
    assert written.get_potential_energy() == found["results"]["energy"]
    assert written.get_forces().shape == (4, 3)


def test_run_for_a_person(probe_root, structure):
    done = run("run", "probe-null", structure, "--root", probe_root)
    assert done.exit_code == 0
    for word in ("Cu4", "probe-null on cpu", "eV/Å", "4 x 3"):
        assert word in done.stdout


def test_a_model_without_stress_is_fine(probe_root, structure):
    done = run("run", "probe-world", structure, "--root", probe_root, "--json")
    assert done.exit_code == 0, done.output
    assert "stress" not in json.loads(done.stdout)["results"]
