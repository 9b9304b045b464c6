"""rootstock evaluate."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read, write

from tests.support.command_line import run
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root whose build is a fake; the command finds it as one that can only be read."""
    text = (TESTS / "support" / "batch_env.py").read_text()
    root = root_with_fake_build(tmp_path, "springs", text)
    monkeypatch.setattr("rootstock.runtime.arguments.find_root", lambda *_: root)
    return root.path


@pytest.fixture
def images():
    """Copper, uranium (not known), copper, water."""
    crystals = [bulk("Cu", cubic=True), bulk("U", "bcc", a=3.0), bulk("Cu"), molecule("H2O")]
    for seed, atoms in enumerate(crystals):
        atoms.rattle(0.05, seed=seed)
    return crystals


@pytest.fixture
def file(tmp_path, images):
    path = tmp_path / "in.extxyz"
    write(path, images)
    return path


def evaluate(root, *arguments):
    return run("evaluate", "springs", *arguments, "--root", root, "--device", "cpu")


def energies(images):
    return [0.005 * (a.numbers[:, None] * a.positions**2).sum() for a in images]


@pytest.mark.parametrize("suffix", [".extxyz", ".xyz", ".traj"])
def test_structure_files(root, file, images, tmp_path, suffix):
    output = tmp_path / f"out{suffix}"
    result = evaluate(root, file, "-o", output)
    assert result.exit_code == 0, result.output
    assert f"written to {output}" in result.stdout
    found = read(output, ":")
    assert [len(atoms) for atoms in found] == [4, 1, 1, 3]
    assert found[1].calc is None
    assert found[1].info["rootstock_error"].startswith("ModelError: KeyError: 'U'")
    for place in (0, 2, 3):
        np.testing.assert_allclose(
            found[place].get_potential_energy(), energies(images)[place], rtol=1e-6
        )
    assert not list(tmp_path.glob("partial-*"))


def test_csv_has_units_in_its_columns(root, file, images, tmp_path):
    output = tmp_path / "out.csv"
    assert evaluate(root, file, "-o", output).exit_code == 0
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [row["formula"] for row in rows] == ["Cu4", "U", "Cu", "H2O"]
    assert [row["frame"] for row in rows] == ["0", "1", "2", "3"]
    assert float(rows[0]["energy_eV"]) == pytest.approx(energies(images)[0])
    assert float(rows[0]["energy_per_atom_eV"]) == pytest.approx(energies(images)[0] / 4)
    forces = 0.01 * 29 * images[0].positions
    assert float(rows[0]["fmax_eV_per_A"]) == pytest.approx(np.linalg.norm(forces, axis=1).max())
    assert float(rows[0]["stress_yy_GPa"]) == pytest.approx(0.01 * 160.21766)
    assert rows[1]["energy_eV"] == "" and rows[1]["error"].startswith("ModelError")
    assert rows[3]["stress_xx_GPa"] == ""


def test_json_has_everything(root, file, images, tmp_path):
    output = tmp_path / "out.json"
    assert evaluate(root, file, "-o", output).exit_code == 0
    documents = json.loads(output.read_text())
    assert documents[0]["results"]["energy"] == pytest.approx(energies(images)[0])
    assert np.shape(documents[0]["results"]["forces"]) == (4, 3)
    assert documents[0]["provenance"]["model"] == "springs"
    assert documents[1]["error"].startswith("ModelError") and documents[1]["results"] == {}


def test_several_files_and_frames(root, file, images, tmp_path):
    write(tmp_path / "more.extxyz", images[0])
    output = tmp_path / "out.csv"
    result = evaluate(root, file, tmp_path / "more.extxyz", "-o", output, "--index", "::2")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(output.read_text().splitlines()))
    assert [(row["index"], row["file"][-9:], row["frame"], row["formula"]) for row in rows] == [
        ("0", "in.extxyz", "0", "Cu4"),
        ("1", "in.extxyz", "2", "Cu"),
        ("2", "re.extxyz", "0", "Cu4"),
    ]


def test_the_summary(root, file):
    result = evaluate(root, file, "--exact")
    assert result.exit_code == 0
    assert "4 structures (9 atoms), springs" in result.stdout
    assert "1 has an error:" in result.stdout
    assert f"frame 1 of {file}: ModelError: KeyError: 'U'" in result.stdout.replace("\n", " ")
    summary = json.loads(evaluate(root, file, "--exact", "--json").stdout)
    assert (summary["structures"], summary["failed"], summary["written"]) == (4, 1, None)
    assert summary["evaluations"] == {"single": 4}


def test_if_all_structures_fail_the_exit_code_says_so(root, tmp_path, images):
    write(tmp_path / "bad.extxyz", [images[1]] * 3)
    assert evaluate(root, tmp_path / "bad.extxyz").exit_code == 7


def test_a_broken_frame_is_named_and_what_came_before_is_kept(root, file, tmp_path):
    text = file.read_text().splitlines()
    text[-1] = "O not a number"
    file.write_text("\n".join(text) + "\n")
    output = tmp_path / "out.csv"
    result = evaluate(root, file, "-o", output)
    assert result.exit_code == 2
    assert f"can't read frame 3 of {file}" in result.stderr
    assert f"the results so far are in {tmp_path / 'partial-out.csv'}" in result.stderr
    assert not output.exists()


def test_a_file_that_is_cut_off_is_refused_before_a_worker_starts(root, file, monkeypatch):
    monkeypatch.setattr(
        "rootstock.runtime.session.start_process", lambda *_: pytest.fail("started")
    )
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    result = evaluate(root, file)
    assert result.exit_code == 2
    assert f"frame 3 of {file} is cut off" in result.stderr


def test_a_wrong_model_leaves_earlier_results(root, file, tmp_path):
    (tmp_path / "partial-out.csv").write_text("earlier results")
    result = run("evaluate", "sprngs", file, "-o", tmp_path / "out.csv", "--root", root)
    assert result.exit_code == 2 and "results so far" not in result.stderr
    assert (tmp_path / "partial-out.csv").read_text() == "earlier results"


def test_tracebacks_of_errors(root, file):
    assert "Traceback" not in evaluate(root, file).stdout
    assert "Traceback" in evaluate(root, file, "--traceback").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["no-such-file.xyz"], 2, "there is no file no-such-file.xyz"),
        (["{file}", "-o", "out.cif"], 2, "out.cif must end with one of .extxyz"),
        (["{file}", "-o", "/no/such/folder/out.csv"], 5, "the folder does not exist"),
        (["{file}", "--properties", "energi"], 1, "did you mean 'energy'"),
        (["{file}", "--workers", "0"], 2, "--workers 0 must be a positive integer"),
        (["{file}", "--batch-atoms", "0"], 2, "must be a positive integer"),
        (["{file}", "--devices", ","], 2, "must be a list"),
        (["{file}", "--index", "x"], 2, "index 'x'"),
    ],
)
def test_invalid_input(root, file, arguments, code, message):
    result = evaluate(root, *(a.format(file=file) for a in arguments))
    assert result.exit_code == code, result.output
    assert message in result.stderr
