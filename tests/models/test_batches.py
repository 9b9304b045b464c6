"""evaluate_batch() of the catalogue, with real models: equal to one by one within rounding."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from ase.build import bulk, molecule

from rootstock import evaluate, prepare
from rootstock.environments.build import interpreter_for
from tests.support.paths import REPO

pytestmark = pytest.mark.model

#: eV/atom, eV/Å, eV/Å³: what single precision leaves.
LIMITS = {"energy": 2e-5, "forces": 2e-4, "stress": 2e-5, "magmoms": 1e-5, "energies": 1e-4}


def crystals(formula: str):
    unit = {
        "Cu": bulk("Cu"),
        "NaCl": bulk("NaCl", "rocksalt", 5.64),
        "Si": bulk("Si"),
    }[formula]
    for seed, factor in enumerate([(1, 1, 1), (2, 1, 1), (2, 2, 1), (3, 2, 1), (1, 1, 2)]):
        atoms = unit * factor
        atoms.rattle(0.05, seed=seed)
        yield atoms
    sheared = unit * (2, 1, 1)
    sheared.set_cell(sheared.cell.array @ [[1, 0.05, 0], [0, 1, 0.03], [0, 0, 1]], scale_atoms=True)
    yield sheared


@pytest.fixture(scope="module")
def random_mace(torch_root, tmp_path_factory):
    """The path of a small MACE with random weights that knows copper."""
    path = tmp_path_factory.mktemp("mace") / "random.model"
    spec = prepare("mace", root=torch_root)
    command = [
        interpreter_for(spec.environment, spec.build),
        "-I",
        REPO / "benchmarks" / "make_random_mace.py",
        path,
        "16",
    ]
    subprocess.run(command, check=True, capture_output=True)
    return path


def compare(images, model, root):
    """Evaluate one by one and in batches of 40 atoms; return the batch's evaluations."""
    options = {"root": root, "device": "cpu", "threads": 1, "progress": False}
    alone = list(evaluate(images, model, exact=True, **options))
    list(evaluate(images, model, **options))  # checks the batch function
    batched = list(evaluate(images, model, batch_atoms=40, **options))
    assert [e.ok for e in alone] == [e.ok for e in batched]
    for one, other in zip(alone, batched):
        if not one.ok:
            continue
        assert other.provenance.evaluation in ("batch", "single")
        for name, limit in LIMITS.items():
            if name not in one.results:
                continue
            assert name in other.results, name
            value, expected = np.asarray(other.results[name]), np.asarray(one.results[name])
            assert value.shape == expected.shape
            scale = len(one.source) if name == "energy" else 1
            deviation = np.abs(value - expected).max() / scale
            assert deviation <= limit * (1 + np.abs(expected).max() / scale), name
    assert "batch" in {e.provenance.evaluation for e in batched if e.ok}
    return batched


#: Environments that no other usual test builds.
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("diep", "so3lr")]


@pytest.mark.parametrize("model", ["chgnet", "sevennet-7net-0", SLOW[0]])
def test_pretrained_models(torch_root, model):
    images = [*crystals("NaCl"), *crystals("Cu"), *crystals("Si"), bulk("Og", "fcc", a=5.0)]
    *rest, oganesson = compare(images, model, torch_root)
    assert all(e.ok for e in rest)
    assert not oganesson.ok


def test_mace(torch_root, random_mace):
    images = [*crystals("Cu"), molecule("H2O")]
    *rest, water = compare(images, f"mace-{random_mace}", torch_root)
    assert all(e.ok for e in rest)
    assert not water.ok  # the random model knows copper alone


@pytest.mark.parametrize("model", SLOW)
def test_molecules_beside_crystals(torch_root, model):
    names = ["H2O", "CH3CH2OH", "C6H6", "NH3", "isobutane"]
    molecules = [molecule(name) for name in names]
    for seed, atoms in enumerate(molecules):
        atoms.rattle(0.03, seed=seed)
    boxed = molecule("C6H6", vacuum=3, pbc=True)
    ammonium = molecule("NH3", info={"charge": 1, "total_spin": 1})
    images = [*crystals("NaCl"), *molecules, boxed, ammonium, bulk("Og", "fcc", a=5.0)]
    *rest, oganesson = compare(images, model, torch_root)
    assert all(e.ok for e in rest)
    assert not oganesson.ok
