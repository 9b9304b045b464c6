"""evaluate() with a store: what is missing is done, and nothing is lost."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import ase.db
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from rootstock import ConfigurationError, evaluate, prepare
from rootstock.errors import (
    CallTimeoutError,
    ModelError,
    OutputError,
    SetupError,
    StructureError,
    WorkerDiedError,
)
from rootstock.evaluation import stored
from rootstock.evaluation.stored import Shard, StoreOptions
from rootstock.testing import FakeEvaluator
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.db"


@pytest.fixture
def root(tmp_path):
    text = (TESTS / "support" / "batch_env.py").read_text()
    return root_with_fake_build(tmp_path, "springs", text)


def fake(results=None, **options):
    def own(structure):
        n = len(structure.positions)
        return {
            "energy": float(structure.positions.sum()),
            "forces": structure.positions.astype(np.float32),
            "stress": np.zeros(6),
            "charges": np.ones(n, np.float32),
        }

    return FakeEvaluator(results or own, **options)


def crystals(number, first=0):
    images = []
    for seed in range(first, first + number):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.info["seed"] = seed
        images.append(atoms)
    return images


def run(structures, model, path, **options):
    return list(evaluate(structures, model, store=path, progress=False, **options))


def count(path, table="results"):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    finally:
        connection.close()


def assert_equal(some, others):
    assert [e.index for e in some] == [e.index for e in others]
    for one, other in zip(some, others):
        assert type(one.error) is type(other.error) and str(one.error) == str(other.error)
        if one.ok:
            assert list(one.results) == list(other.results)
            for name, value in one.results.items():
                assert np.asarray(value).dtype == np.asarray(other.results[name]).dtype
                assert (np.asarray(value) == np.asarray(other.results[name])).all()


# --- only what is missing -------------------------------------------------------------------------


def test_a_second_run_computes_nothing(path):
    images, model = crystals(20), fake()
    first = run(images, model, path)
    again = fake()
    second = run(images, again, path)
    assert (len(model.calls), len(again.calls)) == (20, 0)
    assert_equal(first, second)
    assert not any(e.stored for e in first) and all(e.stored for e in second)
    assert all(e.source is atoms for e, atoms in zip(second, images))


def test_only_what_is_missing(path):
    run(crystals(5), fake(), path)
    run(crystals(3, first=8), fake(), path)
    model = fake()
    found = run(crystals(12), model, path)
    assert len(model.calls) == 4
    assert [e.stored for e in found] == [i < 5 or 8 <= i < 11 for i in range(12)]
    assert_equal(found, list(evaluate(crystals(12), fake(), progress=False)))


def test_an_iterator_that_is_closed_keeps_what_was_reported(path):
    stream = evaluate(crystals(20), fake(), store=path, progress=False)
    assert [next(stream).index for _ in range(7)] == list(range(7))
    stream.close()
    assert count(path) == 7
    model = fake()
    run(crystals(20), model, path)
    assert len(model.calls) == 13


def test_duplicates_of_the_input(path):
    images = [*crystals(3), *crystals(3), *crystals(2)]
    model = fake()
    found = run(images, model, path)
    assert len(model.calls) == 3 and count(path) == 3 and count(path, "inputs") == 8
    assert_equal(found, list(evaluate(images, fake(), progress=False)))


def test_duplicates_in_flight_have_the_results_of_the_first(root, path):
    images = crystals(1) * 60
    found = run(images, "springs-slow", path, root=root, device="cpu", workers_per_device=2)
    assert len({e.results["forces"].tobytes() for e in found}) == 1
    assert count(path) == count(path, "systems") == 1 and count(path, "inputs") == 60


@pytest.mark.parametrize("change", ["position", "cell", "pbc", "info", "charge", "dtype"])
def test_another_structure_is_evaluated(path, change):
    atoms = bulk("Cu", cubic=True)
    atoms.set_initial_charges(np.zeros(4))
    other = atoms.copy()
    if change == "position":
        other.positions[0, 0] = np.nextafter(other.positions[0, 0], 1)
    elif change == "cell":
        other.cell[0, 0] = np.nextafter(other.cell[0, 0], 9)
    elif change == "pbc":
        other.pbc = (True, True, False)
    elif change == "info":
        other.info["charge"] = 1
    elif change == "charge":
        other.arrays["initial_charges"][0] = 1
    else:
        other.arrays["initial_charges"] = other.arrays["initial_charges"].astype(np.float32)
    model = fake()
    run([atoms, other, atoms.copy(), other.copy()], model, path)
    assert len(model.calls) == 2


def test_what_no_model_reads_is_no_other_structure(path):
    one, other = crystals(1) + crystals(1)
    other.set_momenta(np.ones((4, 3)))
    other.calc = object()
    model = fake()
    run([one, other], model, path)
    assert len(model.calls) == 1


def test_no_worker_starts_if_nothing_is_missing(root, path, monkeypatch):
    known = stored.identify(prepare("springs", root=root, device="cpu"))
    assert known.weights is None  # or the test below would test nothing
    monkeypatch.setattr(stored, "identify", lambda _: replace(known, weights=()))
    images = [*crystals(5), Atoms()]
    run(images, "springs", path, root=root, device="cpu")
    monkeypatch.setattr("rootstock.runtime.session.Session.start", lambda *_: 1 / 0)
    assert [e.ok for e in run(images, "springs", path, root=root, device="cpu")] == [True] * 5 + [
        False
    ]


def test_provenance_comes_back(root, path):
    first = run(crystals(3), "springs", path, root=root, device="cpu")
    second = run(crystals(3), "springs", path, root=root, device="cpu")
    assert second[0].provenance == first[0].provenance
    assert [e.provenance for e in second] == [e.provenance for e in first]
    exact = path.with_name("exact.db")
    options = {"root": root, "device": "cpu", "exact": True}
    run(crystals(3), "springs", exact, **options)
    found = run(crystals(3), "springs", exact, **options)
    assert found[0].provenance is found[2].provenance
    assert count(exact, "provenance") == 1


def test_batches(root, path):
    images = crystals(150)
    images[70].info["do"] = "raise"
    images[90].info["do"] = "die"
    first = run(images, "springs-slow", path, root=root, device="cpu", ordered=False)
    second = run(images, "springs-slow", path, root=root, device="cpu")
    assert_equal(sorted(first, key=lambda e: e.index), second)
    assert [type(second[i].error) for i in (70, 90)] == [ModelError, WorkerDiedError]
    assert "batch" in {e.provenance.evaluation for e in second}
    assert "as info said" in str(second[70].error.__cause__)
    with ase.db.connect(path) as database:
        assert len(database) == 148
        for row in database.select(limit=20):
            results = second[row.position].results
            assert row.energy == results["energy"]
            assert (row.forces == results["forces"]).all()


# --- errors ---------------------------------------------------------------------------------------


FAILURES = {0: ModelError, 1: WorkerDiedError, 2: CallTimeoutError, 3: SetupError, 4: None}


class Failing(FakeEvaluator):
    """Fails as the structure's ``info`` says."""

    def __init__(self):
        super().__init__({"energy": 1.0, "forces": np.zeros((4, 3)), "stress": np.zeros(6)})

    def evaluate(self, structures, properties):
        for structure in structures:
            (outcome,) = super().evaluate([structure], properties)
            for number, kind in FAILURES.items():
                if b'"seed",%d]' % number in structure.fixed_inputs.info and kind:
                    outcome = kind(f"failure {number}")
            yield outcome


@pytest.mark.parametrize(
    ("retry", "calls"), [(False, []), (True, [1, 2, 3]), ("all", [0, 1, 2, 3])]
)
def test_errors_are_repeated_as_asked_for(path, retry, calls):
    first = run(crystals(5), Failing(), path)
    assert [type(e.error) for e in first[:4]] == [*FAILURES.values()][:4] and first[4].ok
    model = fake(provenance=Failing().provenance)
    second = run(crystals(5), model, path, retry_errors=retry)
    assert len(model.calls) == len(calls)
    assert [e.index for e in second if e.ok] == sorted([*calls, 4])
    assert count(path) == 5


def test_structures_that_are_refused(path):
    broken = bulk("Cu")
    broken.positions[0, 0] = np.nan
    images = [bulk("Cu"), Atoms(), broken, molecule("H2O")]
    for _ in range(2):
        found = run(images, FakeEvaluator({"energy": 1.0}), path, properties=["energy"])
        assert [type(e.error) for e in found] == [
            type(None),
            StructureError,
            StructureError,
            type(None),
        ]
    assert [e.stored for e in found] == [True] * 4
    assert count(path) == count(path, "inputs") == 4


def test_an_error_that_ends_the_evaluation_keeps_what_was_there(path):
    calls = []

    def results(structure):
        calls.append(structure)
        if len(calls) == 4:
            raise OutputError("the end")
        return {"energy": 1.0}

    with pytest.raises(OutputError, match="the end"):
        run(crystals(9), FakeEvaluator(results), path, properties=["energy"])
    assert count(path) == 3


# --- models, settings, files ----------------------------------------------------------------------


def test_another_model_or_other_settings(path):
    run(crystals(2), fake(), path)
    with pytest.raises(ConfigurationError, match="holds results of fake"):
        run(crystals(2), fake(provenance={"model": "other"}), path)
    with pytest.raises(
        ConfigurationError, match=r"properties=None, not with properties=\['energy'"
    ):
        run(crystals(2), fake(), path, properties=["energy"])
    assert count(path) == 2


def test_exact_and_not_exact(root, path):
    run(crystals(2), "springs", path, root=root, device="cpu")
    with pytest.raises(ConfigurationError, match="made with exact=False, not with exact=True"):
        run(crystals(2), "springs", path, root=root, device="cpu", exact=True)


def test_another_version_of_the_model(root, path, tmp_path):
    run(crystals(2), "springs", path, root=root, device="cpu")
    text = (TESTS / "support" / "batch_env.py").read_text().replace("0.01 *", "0.02 *")
    other = root_with_fake_build(tmp_path / "other", "springs", text)
    with pytest.raises(ConfigurationError, match="source differ"):
        run(crystals(2), "springs", path, root=other, device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"store": "results.sqlite"}, r"must end with \.db"),
        ({"store": "x.db", "retry_errors": "some"}, "must be False, True or 'all'"),
        ({"retry_errors": True}, "needs a store"),
        (
            {"shard": "17/16"},
            "there is no shard 17/16: shards count from 1, and the last one is 16",
        ),
        ({"shard": "0/4"}, "there is no shard 0/4"),
        ({"shard": "1/0"}, "there is no shard 1/0"),
        ({"shard": "x"}, "shard 'x' must be two numbers"),
        ({"shard": "1/2/3"}, "must be two numbers"),
        ({"shard": (1, 2.0)}, "must be two numbers"),
        ({"shard": "-1/4"}, "must be two numbers"),
    ],
)
def test_invalid_arguments(options, message):
    with pytest.raises(ConfigurationError, match=message):
        evaluate([], fake(), **options)


def test_nothing_is_opened_before_the_first_result(path):
    evaluate(crystals(2), fake(), store=path, progress=False)
    assert not path.exists()


# --- shards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shard", ["2/3", (2, 3)])
def test_a_shard(path, shard):
    images = crystals(10)
    found = run(images, fake(), path, shard=shard)
    assert [e.index for e in found] == [1, 4, 7]
    assert all(e.source is images[e.index] for e in found)
    assert not path.exists() and count(path.with_name("results-2of3.db")) == 3


@pytest.mark.parametrize("length", [0, 1, 3, 16, 17, 100])
def test_shards_are_a_partition(length):
    shards = [Shard(i, 16) for i in range(1, 17)]
    assert sorted(p for s in shards for p in s.positions(length)) == list(range(length))
    assert all(p in s for s in shards for p in s.positions(length))


def test_a_shard_reads_ahead_as_far_as_the_whole(root):
    images = crystals(640)
    stream = evaluate(
        images, "springs-slow", root=root, device="cpu", shard="1/10", progress=False, exact=True
    )
    assert [e.index for e in stream] == list(range(0, 640, 10))


def test_progress_tells_what_was_there(path):
    run(crystals(6), fake(), path)
    seen = []
    list(evaluate(crystals(8), fake(), store=path, progress=seen.append))
    assert (seen[-1].done, seen[-1].stored, seen[-1].total) == (8, 6, 8)
    assert "6 from the store" in str(seen[-1])
    assert seen[-1].structures_per_second == pytest.approx(2 / seen[-1].seconds)
    list(evaluate(crystals(8), fake(), store=path, shard="1/2", progress=seen.append))
    assert seen[-1].total == 4


def test_origins_and_options(path):
    from rootstock.evaluation.frames import Frame

    options = StoreOptions(path, ase_rows=False, origin=lambda i: Frame("in.xyz", 10 * i))
    run(crystals(3), fake(), options)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT position, file, frame FROM inputs").fetchall() == [
        (0, "in.xyz", 0),
        (1, "in.xyz", 10),
        (2, "in.xyz", 20),
    ]
    connection.close()
