"""Merging stores, and reading them."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import ase.db
import numpy as np
import pytest
from ase.build import bulk, molecule

from rootstock import ConfigurationError, evaluate
from rootstock.errors import ModelError, OutputError
from rootstock.evaluation.merge import merge
from rootstock.evaluation.store import Store
from rootstock.evaluation.store_reader import StoreReader, ranges_text
from rootstock.evaluation.stored import StoreOptions
from rootstock.testing import FakeEvaluator
from tests.support.users import as_nobody, needs_root


def crystals(number, first=0):
    images = []
    for seed in range(first, first + number):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        images.append(atoms)
    return images


def results(structure):
    return {
        "energy": float(structure.positions.sum()),
        "forces": structure.positions.astype(np.float32),
        "stress": np.zeros(6),
    }


def run(structures, path, model=None, **options):
    model = model or FakeEvaluator(results)
    return list(evaluate(structures, model, store=path, progress=False, **options))


def failing(structure):
    raise ModelError("no")


def dump(path):
    """Return all of our own tables, but the times."""
    connection = sqlite3.connect(path)
    names = {
        "models": "*",
        "results": "key, identity, status, payload, structure",
        "inputs": "*",
        "shards": "*",
        "provenance": "document",
    }
    found = {
        t: sorted(connection.execute(f"SELECT {c} FROM {t}"), key=repr) for t, c in names.items()
    }
    connection.close()
    return found


@pytest.fixture
def shards(tmp_path):
    for number in range(1, 5):
        run(crystals(22), tmp_path / "results.db", shard=(number, 4))
    return sorted(tmp_path.glob("results-*of4.db"))


# --- merge ----------------------------------------------------------------------------------------


def test_shards_become_the_whole(tmp_path, shards):
    whole = tmp_path / "whole.db"
    run(crystals(22), whole)
    before = [path.read_bytes() for path in shards]
    merged = merge(tmp_path / "results.db", shards)
    assert (merged.files, merged.added, merged.known) == (4, 22, 0)
    one, other = dump(tmp_path / "results.db"), dump(whole)
    for table in ("results", "inputs", "provenance"):
        assert one[table] == other[table]
    assert [path.read_bytes() for path in shards] == before
    with ase.db.connect(tmp_path / "results.db") as database:
        assert sorted(row.position for row in database.select()) == list(range(22))


def test_merging_twice_changes_nothing(tmp_path, shards):
    target = tmp_path / "results.db"
    merge(target, shards[:2])
    merge(target, shards)
    before = dump(target)
    merged = merge(target, shards)
    assert (merged.added, merged.known) == (0, 22)
    assert dump(target) == before
    with ase.db.connect(target) as database:
        assert len(database) == 22


def test_evaluate_goes_on_in_a_merged_store(tmp_path, shards):
    target = tmp_path / "results.db"
    merge(target, shards[1:])
    model = FakeEvaluator(results)
    found = run(crystals(22), target, model)
    assert [e.index for e in found if not e.stored] == list(range(0, 22, 4))
    assert len(model.calls) == 6
    with StoreReader(target) as reader:
        (summary,) = reader.summary().models
    assert summary.missing_shards == () and summary.missing == 0


def test_results_replace_errors_and_never_the_other_way(tmp_path):
    good, bad = tmp_path / "good.db", tmp_path / "bad.db"
    run(crystals(3), good)
    run(crystals(3), bad, FakeEvaluator(failing))
    assert merge(good, [bad]).known == 3
    merged = merge(bad, [good])
    assert merged.added == 3
    for path in (good, bad):
        with StoreReader(path) as reader:
            (summary,) = reader.summary().models
        assert (summary.results, summary.errors) == (3, 0)


def test_what_no_model_reads_stays_with_its_structure(tmp_path):
    one, other = crystals(1) * 2
    other = other.copy()
    other.set_momenta(np.ones((4, 3)))
    run([one], tmp_path / "a.db")
    run(
        [molecule("H2O"), other],
        tmp_path / "b.db",
        FakeEvaluator({"energy": 1.0}),
        properties=["energy"],
    )
    run([other], tmp_path / "c-2.db", shard="1/1")
    target = tmp_path / "all.db"
    merge(target, [tmp_path / "a.db", tmp_path / "c-2-1of1.db"])
    with StoreReader(target) as reader:
        ((evaluation, _),) = reader.evaluations(reader.find_model())
    assert evaluation.source == other  # the place was written by the second


def test_other_models_are_refused_unless_told(tmp_path):
    a, b, target = (tmp_path / f"{name}.db" for name in ("a", "b", "all"))
    run(crystals(3), a)
    run(crystals(3), b, FakeEvaluator(results, provenance={"model": "other"}))
    with pytest.raises(ConfigurationError, match=r"different models.*--allow-other-models"):
        merge(target, [a, b])
    assert not target.exists()
    merge(target, [a])
    before = target.read_bytes()
    with pytest.raises(ConfigurationError, match="different models"):
        merge(target, [b])
    assert target.read_bytes() == before
    merged = merge(target, [b], allow_other_models=True)
    assert [m.positions for m in merged.summary.models] == [3, 3]
    assert merge(target, [a, b], allow_other_models=True).added == 0
    with StoreReader(target) as reader:
        with pytest.raises(ConfigurationError, match="holds several models' results"):
            reader.find_model()
        for model in merged.summary.models:
            assert len(list(reader.evaluations(reader.find_model(model.identity[:9])))) == 3
    model = FakeEvaluator(results)
    assert all(e.stored for e in run(crystals(3), target, model))  # both models go on in it


def test_other_settings_are_refused(tmp_path):
    run(crystals(3), tmp_path / "a.db")
    run(crystals(3), tmp_path / "b.db", properties=["energy"])
    with pytest.raises(ConfigurationError, match="different settings"):
        merge(tmp_path / "all.db", [tmp_path / "a.db", tmp_path / "b.db"], allow_other_models=True)


def test_shards_of_different_inputs_are_refused(tmp_path):
    run(crystals(3), tmp_path / "a.db")
    run(crystals(3, first=5), tmp_path / "b.db")
    with pytest.raises(ConfigurationError, match=r"structure 0 of .*b\.db is another one"):
        merge(tmp_path / "all.db", [tmp_path / "a.db", tmp_path / "b.db"])
    assert not (tmp_path / "all.db").exists()


def test_a_store_that_is_written_can_not_be_merged(tmp_path, shards):
    with Store(shards[0]):
        with pytest.raises(OutputError, match="another process is writing to"):
            merge(tmp_path / "results.db", shards)
    assert not (tmp_path / "results.db").exists()


def test_rows_of_an_ase_database_can_be_added(tmp_path):
    run(crystals(3), StoreOptions(tmp_path / "a.db", ase_rows=False))
    merge(tmp_path / "with.db", [tmp_path / "a.db"], ase_rows=True)
    merge(tmp_path / "without.db", [tmp_path / "a.db"], ase_rows=False)
    with ase.db.connect(tmp_path / "with.db") as database:
        assert sorted(r.energy for r in database.select()) == sorted(
            float(a.positions.sum()) for a in crystals(3)
        )
    with StoreReader(tmp_path / "without.db") as reader:
        assert reader.summary().ase_rows == 0


# --- reading --------------------------------------------------------------------------------------


def test_what_is_missing(tmp_path, shards):
    stream = evaluate(crystals(30), FakeEvaluator(results), store=tmp_path / "x.db", progress=False)
    for _ in range(7):
        next(stream)
    stream.close()
    with StoreReader(tmp_path / "x.db") as reader:
        (summary,) = reader.summary().models
    assert (summary.positions, summary.missing, summary.missing_places) == (7, 23, "7-29")
    with sqlite3.connect(shards[1]) as connection:
        connection.execute("DELETE FROM inputs WHERE position = 5")
    connection.close()
    merged = merge(tmp_path / "results.db", [shards[1], shards[3]])
    (summary,) = merged.summary.models
    assert summary.shards == ((2, 4), (4, 4)) and summary.missing_shards == (1, 3)
    assert (summary.missing, summary.missing_places) == (1, "5")


def test_an_input_of_unknown_length(tmp_path):
    stream = evaluate(
        (atoms for atoms in crystals(30)),
        FakeEvaluator(results),
        store=tmp_path / "x.db",
        progress=False,
    )
    next(stream)
    stream.close()
    with StoreReader(tmp_path / "x.db") as reader:
        assert reader.summary().models[0].shards == ()
    run((atoms for atoms in crystals(30)), tmp_path / "x.db")
    with StoreReader(tmp_path / "x.db") as reader:
        assert reader.summary().models[0].shards == ((1, 1),)


def test_an_empty_store(tmp_path):
    Store(tmp_path / "x.db").close()
    with StoreReader(tmp_path / "x.db") as reader:
        summary = reader.summary()
        assert summary.models == () and summary.began is None
        with pytest.raises(ConfigurationError, match="its models are: none"):
            reader.find_model()


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], (0, "")),
        ([3], (1, "3")),
        ([0, 1, 2, 5, 7, 8], (6, "0-2, 5, 7-8")),
        (range(0, 40, 2), (20, "0, 2, 4, 6, 8, 10, 12, 14, ...")),
    ],
)
def test_ranges(numbers, text):
    assert ranges_text(numbers) == text


def test_a_file_that_a_killed_writer_left_is_read(tmp_path):
    path = tmp_path / "x.db"
    run(crystals(3), path)
    with Store(path) as store:
        with store.transaction():
            store.database.execute("UPDATE results SET finished = 1")
        for name in ("x.db", "x.db-wal"):  # as they are after a SIGKILL
            (tmp_path / name.replace("x", "y")).write_bytes((tmp_path / name).read_bytes())
    with StoreReader(tmp_path / "y.db") as reader:
        assert reader.summary().ended == 1
    assert not (tmp_path / "y.db-wal").exists()


@needs_root
def test_a_store_of_another_user_is_read(tmp_path, shards):
    as_nobody(
        f"""
from pathlib import Path
from rootstock.evaluation.store_reader import StoreReader
with StoreReader(Path({str(shards[0])!r})) as reader:
    assert len(list(reader.evaluations(reader.find_model()))) == 6
""",
        tmp_path,
    )


def test_evaluations_are_those_that_were_reported(tmp_path):
    images = crystals(5)
    images[2].info["name"] = "third"
    reported = run(images, tmp_path / "x.db")
    with StoreReader(tmp_path / "x.db") as reader:
        for one, (other, frame) in zip(reported, reader.evaluations(reader.find_model())):
            assert one.source == other.source and one.source.info == other.source.info
            assert one.results["forces"].tobytes() == other.results["forces"].tobytes()
            assert replace(other, stored=False).index == one.index == frame.number
