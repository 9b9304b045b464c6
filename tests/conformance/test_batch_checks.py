"""verify compares batches with single evaluations."""

from __future__ import annotations

import contextlib

import pytest
from ase.build import bulk

from rootstock import evaluate, prepare, verify
from rootstock.conformance.batch_checks import check_batch_function, mixed_set
from rootstock.runtime.session import Session
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS


@pytest.fixture
def root(tmp_path):
    text = (TESTS / "support" / "batch_env.py").read_text()
    return root_with_fake_build(tmp_path, "springs", text)


def checks_of(root, model):
    with contextlib.closing(Session(prepare(model, root=root, device="cpu"))) as session:
        return check_batch_function(session, [bulk("Cu"), bulk("NaCl", "rocksalt", 5.64)])


def test_a_mixed_set_has_sizes_from_1_to_200_and_molecules():
    mixed = mixed_set([bulk("Cu"), bulk("NaCl", "rocksalt", 5.64)])
    sizes = [len(atoms) for atoms in mixed]
    assert min(sizes) == 1 and max(sizes) == 200
    assert {bool(atoms.pbc.all()) for atoms in mixed} == {True, False}


def test_a_batch_function_that_agrees_passes_and_is_used(root):
    batch, neighbours = checks_of(root, "springs-slow")
    assert batch.passed and "bit for bit" in batch.detail
    assert "s one by one" in batch.detail and "s in a batch" in batch.detail
    assert neighbours.passed
    found = evaluate([bulk("Cu")] * 4, "springs-slow", root=root, device="cpu", progress=False)
    assert {e.provenance.evaluation for e in found} == {"batch"}  # the check was recorded


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        ("springs-slow-wrong", "energy deviates by"),
        ("springs-slow-short", r"evaluate_batch() returned"),
    ],
)
def test_a_batch_function_that_is_wrong_fails(root, model, problem):
    batch, _ = checks_of(root, model)
    assert batch.failed and problem in batch.detail


def test_without_a_batch_function_nothing_is_checked(built_probe_root):
    with contextlib.closing(Session(prepare("probe-null", root=built_probe_root))) as session:
        assert check_batch_function(session, [bulk("Cu")]) == []


def test_verify_includes_it(root):
    verification = verify("springs", root=root, device="cpu")
    names = [check.name for check in verification.checks]
    assert "evaluate_batch() equals the calculator" in names
