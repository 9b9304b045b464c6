"""The file of a store: what is in it, who may write, what damages it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time

import ase.db
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from rootstock import ConfigurationError
from rootstock.errors import ModelError, OutputError
from rootstock.evaluation import store as module
from rootstock.evaluation.engine import Completed
from rootstock.evaluation.records import unpack_atoms
from rootstock.evaluation.store import Store
from tests.support.users import as_nobody, needs_root

DOCUMENT = {"model": "springs", "settings": {"properties": None, "exact": False}}
RESULTS = {
    "energy": np.float32(-1.5),
    "forces": np.linspace(0, 1, 12, dtype=np.float32).reshape(4, 3),
    "stress": np.arange(9.0).reshape(3, 3) * 0.01,
    "energies": np.arange(4.0),
    "magmoms": np.zeros((4, 3)),
    "bandgap": 1,
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "results.db"


def copper():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    return atoms


def open_store(path, **options):
    store = Store(path, **options)
    store.use_model("identity", DOCUMENT)
    return store


def add(store, outcome=RESULTS, index=0, key=b"key", atoms=None, provenance=None):
    completed = Completed(index, outcome, provenance)
    return store.add(completed, "identity", key, atoms or copper())


def rows(path, table="results", columns="*"):
    with sqlite3.connect(path) as connection:
        found = connection.execute(f"SELECT {columns} FROM {table}").fetchall()
    connection.close()
    return found


# --- what is in it --------------------------------------------------------------------------------


def test_results_come_back_bit_for_bit(path):
    with open_store(path) as store:
        assert store.find(b"key") is None
        assert add(store, provenance={"model": "fake"})
    with Store(path) as store:
        found = store.find(b"key")
    assert found.status == "ok" and found.provenance == {"model": "fake"}
    assert list(found.outcome) == list(RESULTS)
    for name, value in RESULTS.items():
        assert type(found.outcome[name]) is type(value)
        assert np.asarray(found.outcome[name]).dtype == np.asarray(value).dtype
        assert np.asarray(found.outcome[name]).tobytes() == np.asarray(value).tobytes()


def test_closing_leaves_one_file_that_any_program_reads(path):
    with open_store(path) as store:
        add(store)
        assert path.with_name("results.db-wal").exists()
    assert [p.name for p in path.parent.iterdir()] == ["results.db"]
    assert rows(path, "pragma_journal_mode") == [("delete",)]


def test_results_of_an_equal_structure_stay(path):
    with open_store(path) as store:
        assert add(store)
        assert not add(store, {"energy": 7.0}, index=5)
        assert store.find(b"key").outcome["energy"] == RESULTS["energy"]
    assert len(rows(path, "systems")) == len(rows(path)) == 1
    assert [row[0] for row in rows(path, "inputs")] == [0, 5]


def test_results_replace_an_error_but_no_error_replaces_results(path):
    with open_store(path) as store:
        assert add(store, ModelError("first"))
        assert add(store, ModelError("second"))
        assert str(store.find(b"key").outcome) == "second"
        assert add(store)
        assert not add(store, ModelError("third"))
        assert store.find(b"key").status == "ok"
    assert len(rows(path)) == len(rows(path, "systems")) == len(rows(path, "inputs")) == 1


def test_provenance_is_written_once(path):
    with open_store(path) as store:
        for index in range(200):
            provenance = {"model": "fake", "worker": index % 2}
            add(store, index=index, key=b"%d" % index, provenance=provenance)
    assert len(rows(path, "provenance")) == 2


def test_what_no_model_reads_is_kept_of_each_structure(path):
    one, other = copper(), copper()
    other.set_momenta(np.ones((4, 3)))
    other.set_constraint(FixAtoms([1]))
    with open_store(path) as store:
        add(store, atoms=one)
        add(store, atoms=one, index=1)
        add(store, atoms=other, index=2)
        store.note_input(3, "identity", b"key", other)
        store.note_input(3, "identity", b"key", one)  # known: nothing is written
    own = [row[0] for row in rows(path, "inputs", "structure")]
    assert own[:2] == [None, None]
    for data in own[2:]:
        assert unpack_atoms(data) == other
        assert unpack_atoms(data).constraints[0].index.tolist() == [1]


def test_a_transaction_that_fails_leaves_nothing(path, monkeypatch):
    with open_store(path) as store:
        monkeypatch.setattr(store, "insert_input", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            add(store, provenance={"model": "fake"})
        monkeypatch.undo()
        assert store.find(b"key") is None
        add(store, provenance={"model": "fake"})
        assert store.find(b"key").provenance == {"model": "fake"}
    assert len(rows(path, "systems")) == 1


# --- rows of an ASE database ----------------------------------------------------------------------


def test_ase_reads_it(path):
    atoms = copper()
    atoms.info = {"3": "x", "name": "5"}
    atoms.set_initial_charges(np.full(4, 0.5, np.float32))
    atoms.set_tags(np.arange(4, dtype=np.int8))
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_array("momenta", np.ones((4, 3), np.float32))
    atoms.calc = SinglePointCalculator(atoms, dipole=np.ones(3), free_energy=5.0)
    with open_store(path) as store:
        add(store, index=17, atoms=atoms)
        add(store, {"energy": 1.0}, index=18, key=b"other", atoms=molecule("H2O"))
        add(store, ModelError("no"), index=19, key=b"failed", atoms=molecule("CO"))
    with ase.db.connect(path) as database:
        assert len(database) == 2
        row = database.get(position=17)
        back = row.toatoms()
        assert database.get(formula="H2O").energy == 1.0
        assert len(list(database.select("calculator=springs,Cu=4,energy<0"))) == 1
    assert back.positions.tobytes() == atoms.positions.tobytes() and (back.cell == atoms.cell).all()
    assert row.energy == -1.5
    np.testing.assert_array_equal(row.forces, RESULTS["forces"])
    np.testing.assert_allclose(row.stress, [0, 0.04, 0.08, 0.06, 0.04, 0.02])
    np.testing.assert_array_equal(back.get_initial_charges(), np.full(4, 0.5))
    assert back.get_tags().tolist() == [0, 1, 2, 3] and back.get_momenta().max() == 1.0
    assert row.fmax == pytest.approx(np.linalg.norm(RESULTS["forces"][1:], axis=1).max())
    assert "dipole" not in row and "free_energy" not in row  # not the model's
    assert "magmoms" not in row  # ASE can't read that shape back


def test_the_ase_command_shows_it(path):
    with open_store(path) as store:
        add(store)
    command = [sys.executable, "-m", "ase", "db", str(path), "-c", "id,formula,energy,position"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Cu4" in done.stdout and "-1.5" in done.stdout, done.stdout


def test_a_lock_file_of_ase_does_not_stop_it(path):
    path.with_name("results.db.lock").touch()
    with open_store(path) as store:
        add(store)
    assert len(rows(path, "systems")) == 1


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({}, 3),
        ({"structures": 5}, 3),
        ({"structures": 6}, 0),
        ({"ase_rows": False}, 0),
        ({"structures": 6, "ase_rows": True}, 3),
    ],
)
def test_how_many_rows_there_are(path, monkeypatch, options, count):
    monkeypatch.setattr(module, "MOST_ROWS", 5)
    for start in (0, 3):
        with open_store(path, **(options if not start else {})) as store:
            for index in range(start, start + (3 if not start else 1)):
                add(store, index=index, key=b"%d" % index)
    (tables,) = rows(path, "sqlite_master WHERE name = 'systems'", "count(*)")[0]
    assert tables == (count > 0)
    assert not tables or len(rows(path, "systems")) == count + 1  # a reopened store goes on


def test_rows_of_an_input_of_unknown_length_end_with_a_warning(path, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 2)
    with open_store(path) as store:
        add(store, key=b"0")
        add(store, key=b"1")
        with pytest.warns(RuntimeWarning, match="for the first 2 results only"):
            add(store, key=b"2")
        add(store, key=b"3")
    assert len(rows(path, "systems")) == 2 and len(rows(path)) == 4


def test_rows_can_not_begin_in_the_middle(path):
    with open_store(path, ase_rows=False) as store:
        add(store)
    with pytest.raises(ConfigurationError, match=r"merge NEW.db results.db --ase-rows"):
        Store(path, ase_rows=True)


# --- other models and settings --------------------------------------------------------------------


def test_another_model(path):
    fields = {"lock": "1", "argument": "a", "weights": (("file", "digest"),)}
    with Store(path) as store:
        store.use_model("1" * 64, {**DOCUMENT, "fields": fields})
        store.use_model("1" * 64, {**DOCUMENT, "fields": fields})
        with pytest.raises(ConfigurationError, match=r"springs \(identity 1{12}\), not of lj .*2"):
            store.use_model("2" * 64, {**DOCUMENT, "model": "lj"})
        with pytest.raises(ConfigurationError, match=r"2; lock differ\)"):
            store.use_model("2" * 64, {**DOCUMENT, "fields": {**fields, "lock": "2"}})
    assert len(rows(path, "models")) == 1


@pytest.mark.parametrize("settings", [{"exact": True}, {"properties": ["energy"]}])
def test_other_settings(path, settings):
    with open_store(path) as store:
        other = {**DOCUMENT, "settings": {**DOCUMENT["settings"], **settings}}
        with pytest.raises(ConfigurationError, match=r"was made with .*, not with"):
            store.use_model("identity", other)


# --- other files, other processes -----------------------------------------------------------------


def foreign(path, kind):
    if kind == "text":
        path.write_text("not a database " * 100)
    elif kind == "short":
        path.write_text("hello")
    elif kind == "ase":
        with ase.db.connect(path) as database:
            database.write(bulk("Cu"))
    elif kind == "sqlite":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE t (x)")
        connection.close()


@pytest.mark.parametrize("kind", ["text", "short", "ase", "sqlite"])
def test_files_of_others_are_not_touched(path, kind):
    foreign(path, kind)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="another program's file"):
        Store(path)
    assert path.read_bytes() == before
    assert {p.name for p in path.parent.iterdir()} <= {"results.db", "results.db.lock"}


def test_an_empty_file_becomes_a_store(path):
    path.touch()
    with open_store(path) as store:
        add(store)


def test_a_newer_format(path):
    open_store(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"newer version.*format 9.*update Rootstock"):
        Store(path)


def test_two_writers_in_one_process_and_in_two(path):
    code = "import sys; from pathlib import Path\nfrom rootstock.evaluation.store import Store\nStore(Path(sys.argv[1]))"
    with open_store(path) as store:
        add(store)
        with pytest.raises(OutputError, match=r"another process is writing to .*results\.db"):
            Store(path)
        done = subprocess.run(
            [sys.executable, "-c", code, path], check=False, capture_output=True, text=True
        )
        assert "OutputError: another process is writing to" in done.stderr
        add(store, key=b"after")
    Store(path).close()


def test_of_processes_that_begin_at_once_one_writes(path):
    code = (
        "import sys, time; from pathlib import Path\nfrom rootstock.evaluation.store import Store\n"
        "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
        "with Store(Path(sys.argv[1])): print('open', flush=True); time.sleep(3)"
    )
    begin = str(time.time() + 4)
    command = [sys.executable, "-c", code, path, begin]
    running = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in running]
    assert sum(out == "open\n" for out, _ in outputs) == 1, outputs
    assert sum("another process is writing" in err for _, err in outputs) == 3, outputs


def test_no_folder_and_a_folder(path):
    with pytest.raises(OutputError, match="the folder does not exist"):
        Store(path / "below" / "x.db")
    path.mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        Store(path)


@needs_root
@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_can_only_be_read(path, what):
    with open_store(path) as store:
        add(store)
    os.chmod(path, 0o644 if what == "file" else 0o666)
    os.chmod(path.parent, 0o755 if what == "folder" else 0o777)
    as_nobody(
        f"""
from pathlib import Path
from rootstock.errors import OutputError
from rootstock.evaluation.store import Store
for name in ("results.db", *(["new.db"] if {what!r} == "folder" else [])):
    try:
        with Store(Path({str(path.parent)!r}) / name) as store:
            store.use_model("identity", {DOCUMENT!r})
            store.note_shard("identity", 1, 1, 5)
    except OutputError as error: assert "permission denied" in str(error) and name in str(error), error
    else: raise SystemExit("no error for " + name)
""",
        path.parent,
    )
    assert len(rows(path)) == 1


def test_a_damaged_file(path):
    with open_store(path) as store:
        for index in range(300):
            add(store, index=index, key=b"%032d" % index)
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xa5" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(OutputError, match=r"results\.db.*damaged"):
        with Store(path) as store:
            for index in range(300):
                store.find(b"%032d" % index)


def test_a_damaged_record(path):
    with open_store(path) as store:
        add(store)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE results SET payload = x'00'")
    connection.close()
    with Store(path) as store:
        with pytest.raises(OutputError, match=r"results\.db is damaged"):
            store.find(b"key")


def test_a_file_that_is_removed_meanwhile(path):
    with pytest.raises(OutputError, match=r"results\.db can't be written: the file was removed"):
        with open_store(path) as store:
            path.unlink()
            add(store)


def test_a_closed_store(path):
    store = open_store(path)
    store.close()
    store.close()
    with pytest.raises(OutputError, match="is closed"):
        store.find(b"key")
