"""rootstock compare."""

from __future__ import annotations

import json
import sys

import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tests.support.command_line import run
from tests.support.comparisons_of_models import crystals
from tests.support.fake_builds import root_with_fake_build
from tests.support.fonts import open_fonts
from tests.support.paths import TESTS


@pytest.fixture(scope="module", autouse=True)
def _fonts():
    open_fonts()


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root whose build is a fake; the command finds it as one that can only be read."""
    text = (TESTS / "support" / "compared_env.py").read_text()
    root = root_with_fake_build(tmp_path, "compared", text)
    monkeypatch.setattr("rootstock.runtime.arguments.find_root", lambda *_: root)
    monkeypatch.chdir(tmp_path)
    return root.path


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.extxyz"
    write(path, crystals(4))
    return path


def compare(root, *arguments):
    return run("compare", *arguments, "--root", root, "--device", "cpu")


def test_a_report_in_all_formats(root, file, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["rootstock", "compare", "compared-1", "--structures", "a b"])
    outputs = [tmp_path / f"out.{suffix}" for suffix in ("html", "json", "csv")]
    options = [text for path in outputs for text in ("-o", path)]
    result = compare(
        root, "compared-1", "compared-2", "--structures", file, "--tests", "eos", *options
    )
    assert result.exit_code == 0, result.output
    assert "compared-1" in result.stdout
    assert f"written to {outputs[0]}, {outputs[1]}, {outputs[2]}" in result.stdout
    document = json.loads(outputs[1].read_text())
    assert document["provenance"]["command"] == "rootstock compare compared-1 --structures 'a b'"
    assert [s["file"] for s in document["structures"]] == [str(file)] * 4
    assert [s["frame"] for s in document["structures"]] == [0, 1, 2, 3]
    assert len(document["eos"]) == 4
    assert "<!DOCTYPE html>" in outputs[0].read_text()


def test_the_summary_as_json(root, file):
    result = compare(root, "compared-1", "compared-2", "--structures", file, "--json")
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary["written"] == ["report.html"]
    assert [m["model"] for m in summary["models"]] == ["compared-1", "compared-2"]
    assert summary["energy_scheme"] == "per composition"


def test_settings_of_one_model(root, file, tmp_path):
    result = compare(
        root,
        *("compared-1", "compared-1", "--structures", file, "-o", "out.json"),
        *("--setup", "2:raise_on=Na", "--setup", "stress=false"),
    )
    assert result.exit_code == 0, result.output
    models = json.loads((tmp_path / "out.json").read_text())["models"]
    assert [m["failed"] for m in models] == [0, 2]
    assert [m["stresses"] for m in models] == [0, 0]
    assert models[1]["label"] == "compared-1 (raise_on=Na, stress=False)"


def test_resume_does_only_what_is_missing(root, file, tmp_path):
    command = ("compared-1", "compared-2", "--structures", file, "-o", "out.json", "--resume")
    for natoms in (24, 0):
        assert compare(root, *command).exit_code == 0
        models = json.loads((tmp_path / "out.json").read_text())["models"]
        assert [m["natoms"] for m in models] == [natoms, natoms]
    assert len(list((tmp_path / "out-results").glob("*.db"))) == 2


@pytest.mark.parametrize("resume", [True, False])
def test_after_an_interruption_the_command_says_where_results_are(root, file, monkeypatch, resume):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("rootstock.workflows.model_run.ModelRun.run", interrupted)
    options = ["--resume"] if resume else []
    result = compare(root, "compared-1", "compared-2", "--structures", file, *options)
    assert result.exit_code == 130
    assert ("are in report-results; the same command goes on" in result.stderr) == resume


def test_a_reference_in_a_file_of_its_own(root, file, tmp_path):
    images = crystals(4)
    for atoms in images:
        atoms.calc = SinglePointCalculator(atoms, forces=-2 * atoms.positions)
    write(tmp_path / "dft.extxyz", images[::-1])
    result = compare(
        root,
        *("compared-1", "compared-2", "--structures", file, "-o", "out.json"),
        *("--reference", tmp_path / "dft.extxyz"),
    )
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "out.json").read_text())
    assert document["forces_target"] == "reference"
    assert document["statistics"][1]["forces_rmse_eV_per_A"] == pytest.approx(0, abs=1e-6)
    assert "The reference has no energies" in result.stdout.replace("\n", " ")


def test_if_no_model_evaluates_anything_the_exit_code_says_so(root, file, tmp_path):
    result = compare(
        root,
        *("compared-1", "compared-2", "--structures", file, "-o", "out.html"),
        *("--setup", "does_not_start=true"),
    )
    assert result.exit_code == 7
    assert "no room for this model" in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compared-1", "--structures", "{file}"], 2, "at least two models"),
        (["compared-1", "comparde-1", "--structures", "{file}"], 2, "comparde"),
        (["compared-1", "compared-2", "--structures", "empty.extxyz"], 2, "Empty file"),
        (["compared-1", "compared-2", "--structures", "none.xyz"], 2, "there is no file"),
        (
            ["compared-1", "compared-2", "--structures", "{file}", "-o", "a.pdf"],
            2,
            "a.pdf must end",
        ),
        (
            ["compared-1", "compared-2", "--structures", "{file}", "-o", "no/a.csv"],
            5,
            "does not exist",
        ),
        (["compared-1", "compared-2", "--structures", "{file}", "--tests", "oes"], 2, "'oes'"),
        (
            ["compared-1", "compared-2", "--structures", "{file}", "--setup", "3:a=1"],
            2,
            "are 2 models",
        ),
        (["compared-1", "compared-2", "--structures", "{file}", "--setup", "2:a"], 2, "key=value"),
        (
            ["compared-1", "compared-2", "--structures", "{file}", "--reference", "{file}"],
            2,
            "no energies and forces",
        ),
    ],
)
def test_invalid_input(root, file, tmp_path, arguments, code, message):
    (tmp_path / "empty.extxyz").touch()
    result = compare(root, *(a.format(file=file) for a in arguments))
    assert result.exit_code == code, result.output
    assert message in result.stderr
