"""The command line: JSON as a contract, exit codes, clear words."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from typer.testing import CliRunner

from rootstock.cli import app

runner = CliRunner()


def run(*arguments):
    return runner.invoke(app, [str(a) for a in arguments])


@pytest.fixture
def structure(tmp_path):
    path = tmp_path / "copper.xyz"
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.write(path)
    return path


def test_help_and_version():
    assert "rootstock 0" in run("--version").output
    for command in ("demo", "run", "install", "list", "serve"):
        done = run(command, "--help")
        assert done.exit_code == 0
        assert "--root" in done.output


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


@pytest.mark.parametrize(
    ("model", "file", "code", "words"),
    [
        ("prob-null", None, 2, "did you mean 'probe'"),
        ("probe-null", "/no/such/file.xyz", 2, "there is no file"),
        ("probe-null", __file__, 2, "ASE can't read"),
        ("probe-do-raise", None, 6, "the model's own words"),
        ("probe-do-exit-3", None, 6, "exit code 3"),
    ],
)
def test_errors_have_words_and_exit_codes(probe_root, structure, model, file, code, words):
    done = run("run", model, file or structure, "--root", probe_root)
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert "Traceback" not in done.stderr or model == "probe-do-raise"  # the model's, then
    assert not done.stdout


def test_list_tells_where_each_comes_from_and_which_is_broken(probe_root):
    broken = probe_root / "environments" / "broken_env.py"
    broken.write_text("def setup(:")
    try:
        done = run("list", "--root", probe_root, "--json")
        person = run("list", "--root", probe_root)
    finally:
        broken.unlink()
    assert done.exit_code == person.exit_code == 0
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["environments"]}
    assert found["probe"]["origin"] == "root"
    assert "probe-reference" in found["probe"]["models"]
    assert found["chgnet"]["models"]["chgnet-r2scan"] == "r2SCAN"
    assert "no '# /// script' block" in found["broken"]["problem"]
    assert "broken" in person.stdout


def test_install_is_quick_the_second_time_and_refuses_unknown_names(probe_root):
    for _ in range(2):
        done = run("install", "probe", "--root", probe_root, "--json")
        assert done.exit_code == 0, done.output
        assert list(json.loads(done.stdout)["environments"]) == ["probe"]
    done = run("install", "probe", "nonsense", "--root", probe_root)
    assert done.exit_code == 2
    assert "unknown model 'nonsense'" in done.stderr


def test_a_root_and_a_cluster_are_too_much(probe_root):
    done = run("list", "--root", probe_root, "--cluster", "della")
    assert done.exit_code == 2
    assert "keep one" in done.stderr


@pytest.mark.model
def test_the_demo(session_root):
    done = run("demo", "--model", "snap", "--root", session_root)
    assert done.exit_code == 0, done.output
    assert "Cu125" in done.stdout
    assert "next call" in done.stdout
    found = json.loads(run("demo", "--model", "snap", "--root", session_root, "--json").stdout)
    assert found["first"]["results"]["energy"] == pytest.approx(-512.126, abs=1e-3)
