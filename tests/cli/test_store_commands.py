"""rootstock evaluate -o NAME.db, merge and results."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.io import read, write

from tests.support.command_line import as_json, run
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS
from tests.support.processes import wait_for_no_workers
from tests.support.waiting import wait_until


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root whose build is a fake; the command finds it as one that can only be read."""
    text = (TESTS / "support" / "batch_env.py").read_text()
    root = root_with_fake_build(tmp_path, "springs", text)
    monkeypatch.setattr("rootstock.runtime.arguments.find_root", lambda *_: root)
    return root


@pytest.fixture
def images():
    """Copper in eight shapes, uranium (not known), and water with a constraint."""
    found = [bulk("Cu", cubic=True) for _ in range(8)]
    for seed, atoms in enumerate(found):
        atoms.rattle(0.05, seed=seed)
    found.insert(3, bulk("U", "bcc", a=3.0))
    found.append(molecule("H2O"))
    found[-1].set_constraint(FixAtoms([0]))
    found[-1].set_momenta(np.ones((3, 3)))
    return found


@pytest.fixture
def file(tmp_path, images):
    path = tmp_path / "in.traj"
    write(path, images)
    return path


@pytest.fixture
def store(tmp_path):
    return tmp_path / "results.db"


def evaluate(root, *arguments):
    return run("evaluate", "springs", *arguments, "--root", root.path, "--device", "cpu")


def energies(images):
    return [0.005 * (a.numbers[:, None] * a.positions**2).sum() for a in images]


# --- evaluate -------------------------------------------------------------------------------------


def test_it_goes_on_where_it_stopped(root, file, store):
    first = evaluate(root, file, "-o", store, "--index", ":4")
    assert first.exit_code == 0, first.output
    assert f"written to {store}" in first.stdout and "already" not in first.stdout
    second = evaluate(root, file, "-o", store)
    assert "10 structures (36 atoms), springs\n4 of them were in the store already" in second.stdout
    assert "1 has an error:" in second.stdout and f"frame 3 of {file}" in second.stdout
    summary = json.loads(evaluate(root, file, "-o", store, "--json").stdout)
    assert (summary["stored"], summary["failed"], summary["evaluations"]) == (10, 1, {})
    assert sorted(p.name for p in store.parent.glob("*.db*")) == ["results.db"]
    assert not list(store.parent.glob("partial-*"))


def test_errors_are_repeated(root, file, store):
    evaluate(root, file, "-o", store)
    for option, stored in (("--retry-errors", 10), ("--retry-all", 9)):
        summary = json.loads(evaluate(root, file, "-o", store, option, "--json").stdout)
        assert (summary["stored"], summary["failed"]) == (stored, 1)


def test_shards_and_merge_are_the_whole(root, file, images, store, tmp_path):
    for number in (1, 2, 3):
        result = evaluate(root, file, "-o", store, "--shard", f"{number}/3")
        assert result.exit_code == 0, result.output
        assert f"written to {tmp_path / f'results-{number}of3.db'}" in result.stdout
    assert not store.exists()
    shards = sorted(tmp_path.glob("results-*of3.db"))
    result = run("merge", store, *shards)
    assert result.exit_code == 0, result.output
    assert "merged 3 stores: 10 outcomes are new" in result.stdout
    assert "10 structures: 9 with results, 1 with an error" in result.stdout
    assert "errors: 1 ModelError" in result.stdout and "complete" in result.stdout
    again = run("merge", store, *shards)
    assert "0 outcomes are new, 10 were there already" in again.stdout
    summary = json.loads(evaluate(root, file, "-o", store, "--json").stdout)
    assert summary["stored"] == 10
    found = read_back(store, tmp_path / "out.traj")
    assert [len(a) for a in found] == [len(a) for a in images]
    for atoms, source, energy in zip(found, images, energies(images)):
        if atoms.calc is not None:
            assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
        assert (atoms.positions == source.positions).all()


def read_back(store, path):
    result = run("results", store, "-o", path)
    assert result.exit_code == 0, result.output
    assert f"written to {path}" in result.stdout
    return read(path, ":")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-o", "{store}", "--shard", "17/16"], 2, "there is no shard 17/16"),
        (["-o", "{store}", "--shard", "0/4"], 2, "there is no shard 0/4"),
        (["-o", "{store}", "--shard", "x"], 2, "shard 'x' must be two numbers"),
        (["--shard", "1/2"], 2, "--shard needs a store"),
        (["-o", "out.csv", "--shard", "1/2"], 2, "--shard needs a store"),
        (["-o", "out.csv", "--retry-all"], 2, "--retry-errors needs a store"),
        (["--no-ase-rows"], 2, "--ase-rows needs a store"),
        (["-o", "/no/such/folder/x.db"], 5, "the folder does not exist"),
        (["-o", "{file}.db"], 2, "another program's file"),
    ],
)
def test_invalid_options(root, file, store, arguments, code, message):
    (file.parent / "in.traj.db").write_text("something else" * 100)
    result = evaluate(root, file, *(a.format(file=file, store=store) for a in arguments))
    assert result.exit_code == code, result.output
    assert message in result.stderr


def test_other_settings_of_a_store(root, file, store):
    evaluate(root, file, "-o", store)
    result = evaluate(root, file, "-o", store, "--exact")
    assert result.exit_code == 2
    assert "was made with exact=False, not with exact=True" in result.stderr


@pytest.mark.parametrize("rows", [True, False])
def test_rows_of_an_ase_database(root, file, store, rows):
    evaluate(root, file, "-o", store, "--ase-rows" if rows else "--no-ase-rows")
    summary = as_json("results", store)["store"]
    assert summary["ase_rows"] == (9 if rows else 0)


# --- SIGTERM --------------------------------------------------------------------------------------

COMMAND = """
import sys
from pathlib import Path
from rootstock.settings.root import Root
import rootstock.runtime.arguments as arguments
root = Root(Path(sys.argv[1]), user_layer=Path(sys.argv[2]))
arguments.find_root = lambda *_: root
from rootstock.cli import app
app(sys.argv[3:])
"""


@pytest.mark.parametrize("name", ["results.db", "out.extxyz"])
def test_sigterm(root, tmp_path, name):
    images = [bulk("Cu", cubic=True) for _ in range(4000)]
    for seed, atoms in enumerate(images):
        atoms.positions[0, 0] = 1e-4 * seed
    write(tmp_path / "in.extxyz", images)
    output = tmp_path / name
    command = [sys.executable, "-c", COMMAND, root.path, root.user_layer, "evaluate"]
    command += ["springs-slow", tmp_path / "in.extxyz", "-o", output, "--device", "cpu", "--exact"]
    process = subprocess.Popen(command, stdout=-1, stderr=-1, text=True)
    growing = tmp_path / (f"{name}-wal" if name.endswith(".db") else f"partial-{name}")
    assert wait_until(lambda: growing.exists() and growing.stat().st_size > 500_000, within=60)
    for _ in range(3):  # one is enough; more do no harm
        os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143, errors
    assert "terminated" in errors and "Traceback" not in errors
    assert wait_for_no_workers()
    if name.endswith(".db"):
        assert f"the results so far are in {output}; the same command goes on" in errors
        assert not list(tmp_path.glob("results.db-*"))
        assert 0 < as_json("results", output)["store"]["models"][0]["results"] < 4000
    else:
        assert f"the results so far are in {growing}" in errors
        assert 0 < len(read(growing, ":")) < 4000


# --- results --------------------------------------------------------------------------------------


def test_the_summary(root, file, store):
    evaluate(root, file, "-o", store)
    result = run("results", store)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == str(store)
    assert lines[1].startswith("  springs (identity ") and "exact" not in lines[1]
    assert lines[2] == "    10 structures: 9 with results, 1 with an error"
    assert lines[3] == "    errors: 1 ModelError"
    assert lines[4] == "    complete"
    assert lines[5].startswith("  from 20") and " to 20" in lines[5]
    assert lines[6] == f"  9 rows of an ASE database: ase db {store}"
    assert all(len(line) <= 80 for line in lines[1:6])


def test_what_is_missing_is_said(root, file, store, tmp_path):
    for number in (2, 5):
        evaluate(root, file, "-o", store, "--shard", f"{number}/8")
    run("merge", store, tmp_path / "results-2of8.db", tmp_path / "results-5of8.db")
    text = run("results", store).stdout
    assert "shards 1, 3-4, 6-8 of 8 are missing" in text


def test_results_in_every_format(root, file, images, store, tmp_path):
    evaluate(root, file, "-o", store)
    found = read_back(store, tmp_path / "out.extxyz")
    assert found[3].info["rootstock_error"].startswith("ModelError: KeyError: 'U'")
    found = read_back(store, tmp_path / "out.traj")
    assert found[-1].constraints[0].index.tolist() == [0]
    assert found[-1].get_momenta().tolist() == images[-1].get_momenta().tolist()
    run("results", store, "-o", tmp_path / "out.csv")
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [(row["index"], row["file"], row["frame"]) for row in rows] == [
        (str(n), str(file), str(n)) for n in range(10)
    ]
    np.testing.assert_allclose(
        [float(row["energy_eV"] or "nan") for row in rows],
        [np.nan if n == 3 else e for n, e in enumerate(energies(images))],
        atol=1e-6,
    )
    run("results", store, "-o", tmp_path / "out.json")
    documents = json.loads((tmp_path / "out.json").read_text())
    assert documents[0]["provenance"]["model"] == "springs" and len(documents) == 10


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["results", "no.db"], 2, "there is no store no.db: check the path"),
        (["results", "{file}"], 2, "another program's file"),
        (["results", "{store}", "-o", "x.cif"], 2, "must end with one of"),
        (
            ["results", "{store}", "-o", "{file}.csv", "--model", "mace"],
            2,
            "holds no results of mace; its",
        ),
        (["merge", "{store}"], 2, "Missing argument"),
        (["merge", "{store}", "no.db"], 2, "there is no store no.db"),
        (["merge", "{store}", "{store}"], 2, "can't be merged into itself"),
        (["merge", "all.txt", "{store}"], 2, "must end with .db"),
    ],
)
def test_invalid_input(root, file, store, arguments, code, message):
    evaluate(root, file, "-o", store)
    result = run(*(a.format(file=file, store=store) for a in arguments))
    assert result.exit_code == code, result.output
    assert message in result.output
