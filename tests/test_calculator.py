"""The calculator on the probe environment: real uv, real processes, small models."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path

import ase.calculators.calculator as asecalc
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write
from conftest import PROBE, children
from environments.probe_env import Reference
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_wire import identical, nested

from rootstock import (
    CallTimeoutError,
    ConfigurationError,
    ModelError,
    PropertyMissingError,
    RootstockCalculator,
    SetupError,
    StructureError,
    UnknownNameError,
    WorkerDiedError,
)


def copper(n: int = 2) -> Atoms:
    atoms = bulk("Cu", cubic=True) * (n, 1, 1)
    atoms.rattle(0.1, seed=3)
    return atoms


def direct(atoms: Atoms, name: str) -> dict:
    """Return all results of a fresh reference calculator in this process."""
    calc = Reference()
    calc.get_property(name, atoms)
    return {k: v for k, v in calc.results.items() if k not in ("odd", "changes")}


# --- the same numbers ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference(probe_root):
    with RootstockCalculator("probe-reference", root=probe_root) as calc:
        calc.report
        yield calc


finite = st.floats(-1e6, 1e6, allow_subnormal=True)


@st.composite
def any_atoms(draw):
    n = draw(st.integers(1, 12))
    column = lambda elements: draw(st.lists(elements, min_size=n, max_size=n))  # noqa: E731
    atoms = Atoms(
        numbers=column(st.integers(0, 118)),
        positions=[draw(st.tuples(finite, finite, finite)) for _ in range(n)],
        cell=[
            draw(st.tuples(finite, finite, finite)) if draw(st.booleans()) else (0, 0, 0)
            for _ in range(3)
        ],
        pbc=draw(st.tuples(*[st.booleans()] * 3)),
        info=draw(st.dictionaries(st.text(max_size=5), nested, max_size=3)),
    )
    if draw(st.booleans()):
        atoms.set_initial_charges(column(finite))
    if draw(st.booleans()):
        atoms.set_initial_magnetic_moments(column(finite))
    if draw(st.booleans()):
        atoms.set_tags(column(st.integers(-5, 5)))
    return atoms


@st.composite
def many_atoms(draw):
    """Up to 200 atoms, cells of any rank, positions over sixty orders of magnitude."""
    n = draw(st.integers(1, 200))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = 10.0 ** draw(st.integers(-30, 30))  # the reference has float32
    cell = generator.normal(size=(3, 3)) * scale
    cell[draw(st.integers(0, 3)) :] = 0
    atoms = Atoms(
        generator.integers(0, 119, n),
        generator.normal(size=(n, 3)) * scale,
        cell=cell[generator.permutation(3)],
        pbc=generator.integers(0, 2, 3),
        info=draw(st.dictionaries(st.text(max_size=5), nested, max_size=3)),
    )
    if draw(st.booleans()):
        atoms.set_initial_charges(generator.normal(size=n))
    if draw(st.booleans()):
        atoms.set_initial_magnetic_moments(generator.normal(size=n))
    if draw(st.booleans()):
        atoms.set_tags(generator.integers(-9, 9, n))
    return atoms


@settings(deadline=None, max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.one_of(any_atoms(), many_atoms()))
def test_everything_that_a_model_reads_arrives_and_everything_it_gives_returns(reference, atoms):
    reference.calculate(atoms, ["energy"])
    expected = direct(atoms, "energy")
    found = {k: v for k, v in reference.results.items() if k != "changes"}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert identical(found[name], value), name


def test_every_getter_of_ase_gives_what_the_model_gives(reference):
    ours, theirs = copper(), copper()
    for atoms in (ours, theirs):
        atoms.set_initial_magnetic_moments([0.5] * 8)
    ours.calc, theirs.calc = reference, Reference()
    for getter in (
        "get_potential_energy",
        "get_forces",
        "get_stress",
        "get_charges",
        "get_magnetic_moments",
    ):
        assert identical(getattr(ours, getter)(), getattr(theirs, getter)()), getter
    assert ours.get_potential_energy(force_consistent=True) == theirs.get_potential_energy(
        force_consistent=True
    )
    with pytest.raises(asecalc.PropertyNotImplementedError):
        ours.get_dipole_moment()
    with pytest.raises(PropertyMissingError, match="'dipole'"):
        ours.get_dipole_moment()


CHANGES = {
    "positions": lambda a: a.positions.__setitem__((0, 0), 9.0),
    "numbers": lambda a: a.numbers.__setitem__(1, 29 - 10),
    "cell": lambda a: a.set_cell(a.cell * 1.01),
    "pbc": lambda a: a.set_pbc((True, False, True)),
    "initial_charges": lambda a: a.set_initial_charges([1.0] * len(a)),
    "initial_magmoms": lambda a: a.set_initial_magnetic_moments([1.0] * len(a)),
    "tags": lambda a: a.set_tags([2] * len(a)),
    "info": lambda a: a.info.update(charge=1),
    "custom": lambda a: a.set_array("mine", np.ones(len(a))),
}


@pytest.mark.parametrize("what", CHANGES)
def test_any_change_is_seen_and_none_is_imagined(reference, what):
    atoms = copper()
    atoms.calc = reference
    before = atoms.get_potential_energy()
    assert reference.check_state(atoms) == []
    CHANGES[what](atoms)
    changes = reference.check_state(atoms)
    assert changes == ([what] if what not in ("tags", "custom") else ["info"])
    assert atoms.get_potential_energy() == direct(atoms, "energy")["energy"] != before


def test_the_model_hears_of_the_changes_in_ases_words(reference):
    atoms = copper()
    atoms.calc = reference
    atoms.get_forces()
    seen = []
    for change in ("positions", "cell", "numbers", "pbc", "initial_charges", "info"):
        CHANGES[change](atoms)
        atoms.get_forces()
        seen.append(reference.results["changes"])
    other = copper(1)
    other.calc = reference
    other.get_forces()
    assert seen == [
        ["positions"],
        ["positions", "cell"],
        ["positions", "numbers"],
        ["positions", "pbc"],
        ["positions", "initial_charges"],
        ["positions"],
    ]
    assert reference.results["changes"] == [
        "positions",
        "numbers",
        "cell",
        "pbc",
        "initial_charges",
    ]


def test_a_cached_result_costs_no_call_and_is_a_copy(make):
    calc = make("probe-misbehaving")
    atoms = copper()
    atoms.calc = calc
    forces = atoms.get_forces()
    forces += 1
    os.kill(calc.report.pid, signal.SIGKILL)  # nobody is asked again
    assert not atoms.get_forces().any()
    assert atoms.get_potential_energy() == atoms.positions.sum()


def test_momenta_are_not_the_models_business(make):
    atoms = copper()
    atoms.calc = calc = make()
    atoms.get_forces()
    atoms.set_momenta(np.ones((8, 3)))
    assert calc.check_state(atoms) == []


@pytest.mark.parametrize(
    "atoms", [molecule("H2O"), bulk("Cu"), Atoms("Cu", cell=[3, 0, 0], pbc=(1, 0, 0))]
)
def test_any_dimension(reference, atoms):
    atoms = atoms.copy()
    atoms.calc = reference
    assert atoms.get_potential_energy() == direct(atoms, "energy")["energy"]


# --- bad structures -----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_positions_that_are_not_finite_are_refused(make, bad):
    atoms = copper()
    atoms.calc = make()
    atoms.positions[3, 1] = bad
    with pytest.raises(StructureError, match="atom 3"):
        atoms.get_forces()
    atoms.positions[3, 1] = 0
    atoms.get_forces()
    atoms.cell[0, 0] = bad
    with pytest.raises(asecalc.InputError, match="cell"):
        atoms.get_forces()


def test_huge_but_finite_positions_are_fine(reference):
    atoms = copper()
    atoms.positions[:] = 1e300
    atoms.calc = reference
    assert atoms.get_potential_energy() == direct(atoms, "energy")["energy"]


def test_no_atoms_are_refused(make):
    atoms = Atoms()
    atoms.calc = make()
    with pytest.raises(StructureError, match="no atoms"):
        atoms.get_potential_energy()
    with pytest.raises(StructureError, match="no atoms were given"):
        make().get_property("energy")


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"modle": "x"}, "did you mean 'model'"),
        ({"root": "/a", "cluster": "della"}, "both given"),
        ({"cluster": "dela"}, "did you mean 'della'"),
        ({"model": None}, "give a model"),
        ({"model": ""}, "must be a string"),
        ({"model": "prob-null"}, "did you mean 'probe'"),
        ({"device": "gpu"}, "is no device"),
        ({"device": 1}, "is no device"),
        ({"threads": 0}, "threads"),
        ({"threads": 1.5}, "threads"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "soon"}, "timeout"),
        ({"startup_timeout": float("nan")}, "startup_timeout"),
        ({"setup_kwargs": {"f": print}}, "can't be sent"),
        ({"setup_kwargs": {1: 2}}, "names as keys"),
    ],
)
def test_bad_arguments_are_refused_at_once(probe_root, arguments, message):
    arguments = {"model": "probe-null", "root": probe_root, **arguments}
    if arguments.get("cluster") == "dela":
        del arguments["root"]
    with pytest.raises(ConfigurationError, match=message):
        RootstockCalculator(**arguments)


def test_unknown_models_list_what_is_there(probe_root):
    with pytest.raises(UnknownNameError, match=r"chgnet, deepmd, .*mace, .*probe") as caught:
        RootstockCalculator("zzz", root=probe_root)
    assert caught.value.name == "zzz"


def test_a_cuda_index_that_is_not_visible_is_refused(make, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    calc = RootstockCalculator(**{**make().parameters, "device": "cuda:1"})
    with pytest.raises(ConfigurationError, match="CUDA_VISIBLE_DEVICES=3"):
        calc.report


def test_a_cuda_index_becomes_a_mask(make, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a,GPU-b")
    calc = RootstockCalculator(**{**make("probe-world").parameters, "device": "cuda:1"})
    with calc:
        calc.calculate(copper())
        assert calc.results["environ"]["CUDA_VISIBLE_DEVICES"] == "GPU-b"
        assert calc.device == "cuda:1"


def test_setup_kwargs_arrive(make):
    options = {"a": 1.5, "b": [1, {"c": None}], "array": np.arange(2)}
    names = make("probe-options", setup_kwargs=options).implemented_properties
    assert names == ["energy", *map(repr, sorted(options.items()))]


def test_device_is_decided_in_the_worker(make):
    calc = RootstockCalculator(model="probe-null", root=make().parameters["root"])
    assert calc.device == "auto"
    calc.report
    assert calc.device == "cpu"
    calc.close()


# --- setup() ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("probe-nonsense", "ValueError: no model 'nonsense'"),
        ("probe-none", "returned NoneType, which is no ASE calculator"),
        ("probe-number", "returned int, which is no ASE calculator"),
        ("probe-do-raise", "the model's own words"),
        ("probe-do-raise-oddly", "message can't be shown"),
    ],
)
def test_a_setup_that_fails_says_so_each_time(make, model, message):
    atoms = copper()
    atoms.calc = make(model)
    for _ in range(2):
        with pytest.raises(SetupError, match=message) as caught:
            atoms.get_forces()
        assert model in str(caught.value)
        assert isinstance(caught.value, asecalc.CalculatorSetupError)
    assert "probe_env.py" in str(caught.value.__cause__) or "returned" in message


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("probe-do-exit-0", "ended with exit code 0"),
        ("probe-do-exit-7", "ended with exit code 7"),
        ("probe-do-sys.exit", "ended with exit code 3"),
        ("probe-do-SIGKILL", "SIGKILL"),
        ("probe-do-segfault", "SIGSEGV"),
        ("probe-do-helpers", "exit code 1"),
    ],
)
def test_a_death_during_the_start(make, model, message):
    with pytest.raises(WorkerDiedError, match=message) as caught:
        make(model).report
    assert "while it loaded the model" in str(caught.value)
    assert "loading do-" in caught.value.log_tail


def test_a_start_that_takes_too_long(make):
    calc = make("probe-do-sleep-60", startup_timeout=1)
    started = time.monotonic()
    with pytest.raises(CallTimeoutError, match="startup_timeout=1 s"):
        calc.report
    assert time.monotonic() - started < 10


# --- calls that fail, and the next one ----------------------------------------------------------


@pytest.fixture
def misbehaving(make):
    atoms = copper()
    atoms.calc = make("probe-misbehaving")
    atoms.get_forces()
    return atoms


def ask(atoms: Atoms, what: str) -> float:
    atoms.info["do"] = what
    return atoms.get_potential_energy()


def works(atoms: Atoms) -> bool:
    atoms.positions += 0.5
    return ask(atoms, "") == atoms.positions.sum()


def test_a_model_that_raises_leaves_its_worker_alive(misbehaving):
    pid = misbehaving.calc.report.pid
    with pytest.raises(ModelError, match="the model's own words") as caught:
        ask(misbehaving, "raise")
    assert isinstance(caught.value, asecalc.CalculationFailed)
    assert caught.value.remote_type == "builtins.RuntimeError"
    assert 'raise RuntimeError("the model\'s own words")' in str(caught.value.__cause__)
    assert works(misbehaving)
    assert misbehaving.calc.report.pid == pid


def test_a_property_that_the_model_refuses_while_it_runs(misbehaving):
    with pytest.raises(PropertyMissingError, match="not today"):
        ask(misbehaving, "missing")
    assert works(misbehaving)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("exit-0", "exit code 0"),
        ("exit-9", "exit code 9"),
        ("sys.exit", "exit code 3"),
        ("SIGKILL", "SIGKILL .*memory"),
        ("SIGTERM", "SIGTERM"),
        ("segfault", "SIGSEGV"),
        ("helpers", "exit code 1"),
        ("close", "while it calculated"),
    ],
)
def test_a_worker_that_dies_says_how_and_the_next_call_works(misbehaving, what, message):
    started = time.monotonic()
    with pytest.raises(WorkerDiedError, match=message) as caught:
        ask(misbehaving, what)
    assert time.monotonic() - started < 8
    assert "loading misbehaving" in caught.value.log_tail
    assert "'probe-misbehaving'" in str(caught.value)
    if what.startswith("exit"):
        assert "last words on stdout" in str(caught.value)
    assert works(misbehaving)


def test_a_worker_killed_between_two_calls(misbehaving):
    os.kill(misbehaving.calc.report.pid, signal.SIGKILL)
    misbehaving.positions += 1
    with pytest.raises(WorkerDiedError, match="SIGKILL"):
        misbehaving.get_forces()
    assert works(misbehaving)


def test_a_timeout_stops_the_worker_and_the_next_call_works(make):
    atoms = copper()
    atoms.calc = make("probe-misbehaving", timeout=2)
    atoms.get_forces()
    for what in ("sleep-60", "SIGSTOP"):
        started = time.monotonic()
        with pytest.raises(CallTimeoutError, match="timeout=2 s") as caught:
            ask(atoms, what)
        assert isinstance(caught.value, TimeoutError)
        assert time.monotonic() - started < 8
        assert works(atoms)


def test_noise_is_capped_and_harmless(misbehaving):
    assert ask(misbehaving, "noise") == misbehaving.positions.sum()  # 20 MB
    time.sleep(0.6)
    assert works(misbehaving)
    output = os.stat(f"/proc/{misbehaving.calc.report.pid}/fd/1")
    assert output.st_size < 2**20
    assert "x" * 100 in misbehaving.calc.log
    assert len(misbehaving.calc.log) <= 2**16


def test_a_little_noise_in_each_of_many_short_calls_is_capped_too(misbehaving):
    """No single wait is as long as the pause between two looks at the log."""
    for _ in range(1000):
        misbehaving.positions += 1e-3
        ask(misbehaving, "some noise")
    time.sleep(0.6)
    assert works(misbehaving)
    assert os.stat(f"/proc/{misbehaving.calc.report.pid}/fd/1").st_size < 2**20


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("pause", ["sleep-0.5", "sleep-60"])
def test_an_interrupt_in_mid_call_leaves_nothing_out_of_step(misbehaving, monkeypatch, pause):
    monkeypatch.setattr("rootstock.launch.session._DRAIN", 2.0)

    def interrupt(*_):
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    pid = misbehaving.calc.report.pid
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Interrupted):
            ask(misbehaving, pause)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert works(misbehaving)
    if pause == "sleep-0.5":  # the answer that was owed was dropped, and the worker kept
        assert misbehaving.calc.report.pid == pid


def test_interrupts_at_any_moment_never_give_a_wrong_answer(misbehaving):
    def interrupt(*_):
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    interrupted = 0
    try:
        for turn in range(150):
            misbehaving.positions += 0.01
            signal.setitimer(signal.ITIMER_REAL, 1e-5 * (1 + turn % 40))
            try:
                found = ask(misbehaving, "")
            except Interrupted:
                interrupted += 1
                continue
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert found == misbehaving.positions.sum()
    except Interrupted:  # between the call and the disarming
        interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert interrupted
    assert works(misbehaving)


# --- isolation ----------------------------------------------------------------------------------


def test_nothing_of_the_caller_reaches_the_worker(make, monkeypatch, tmp_path):
    (tmp_path / "ase.py").write_text("raise SystemExit('leaked')")
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('leaked')")
    monkeypatch.chdir(tmp_path)
    for name in (
        "PYTHONPATH",
        "PYTHONHOME",
        "LD_PRELOAD",
        "CONDA_PREFIX",
        "VIRTUAL_ENV",
        "PYTHONSTARTUP",
    ):
        if name != "PYTHONHOME":
            monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("MINE", "kept")
    calc = make("probe-world", threads=3)
    calc.calculate(copper())
    world = calc.results
    seen = world["environ"]
    assert seen["MINE"] == "kept"
    assert not [
        name for name in seen if name.startswith(("PYTHON", "CONDA", "UV_", "VIRTUAL", "LD_"))
    ]
    assert seen["OMP_NUM_THREADS"] == seen["MKL_NUM_THREADS"] == "3"
    root = Path(calc.parameters["root"])
    assert seen["HF_HOME"] == str(root / "cache" / "huggingface")
    assert seen["XDG_CACHE_HOME"] == str(root / "cache")
    assert seen["HOME"] == world["cwd"] == str(root / "home")
    assert not [p for p in world["path"] if "site-packages" in p and not p.startswith(str(root))]
    assert str(tmp_path) not in str(world["path"])
    assert world["modules"] and all(n.startswith("_rootstock") for n in world["modules"])
    assert world["argv"] == ["rootstock-worker"]
    assert world["stdin"] == ""


def test_the_users_token_is_still_found(make, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HF_HOME", raising=False)
    token = tmp_path / ".cache" / "huggingface" / "token"
    token.parent.mkdir(parents=True)
    token.write_text("hf_secret")
    calc = make("probe-world")
    calc.calculate(copper())
    assert calc.results["environ"]["HF_TOKEN_PATH"] == str(token)
    assert "hf_secret" not in json.dumps(calc.provenance)


# --- copies, processes, threads -----------------------------------------------------------------


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
@pytest.mark.parametrize("used", [False, True])
def test_copies_share_the_worker(make, duplicate, used):
    calc = make("probe-misbehaving")
    atoms = copper()
    before = children()
    if used:
        calc.calculate(atoms)
    twins = [duplicate(calc) for _ in range(3)]
    for shift, twin in enumerate(twins):
        moved = atoms.copy()
        moved.positions += shift
        moved.calc = twin
        assert moved.get_potential_energy() == moved.positions.sum()
    assert len(children() - before) == 1
    pid = calc.report.pid
    twins.pop().close()
    del twins, twin, moved
    calc.calculate(atoms)
    assert calc.report.pid == pid
    calc.close()
    assert children() == before
    calc.calculate(copper(1))  # usable again
    calc.close()


def test_the_worker_ends_with_its_last_owner_without_any_close(make):
    before = children()
    atoms = copper()
    calc = RootstockCalculator(**make().parameters)
    atoms.calc = calc
    atoms.get_forces()
    twin = copy.deepcopy(calc)
    del calc, atoms
    assert len(children() - before) == 1
    del twin
    assert children() == before


def test_deepcopied_results_are_independent(make):
    calc = make()
    calc.calculate(copper())
    twin = copy.deepcopy(calc)
    twin.results["forces"] += 1
    assert not calc.results["forces"].any()


def test_a_pickle_keeps_results_and_starts_its_own_worker(make):
    calc = make("probe-misbehaving")
    atoms = copper()
    atoms.calc = calc
    energy = atoms.get_potential_energy()
    twin = pickle.loads(pickle.dumps(atoms))
    before = children()
    assert twin.get_potential_energy() == energy
    assert children() == before
    twin.positions += 1
    assert twin.get_potential_energy() == twin.positions.sum()
    assert len(children() - before) == 1
    twin.calc.close()
    assert calc.report.pid in children()


def test_a_forked_child_starts_its_own_and_leaves_the_parents_alone(make):
    calc = make("probe-misbehaving")
    atoms = copper()
    atoms.calc = calc
    atoms.get_forces()
    pid = calc.report.pid
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            atoms.positions += 1
            right = atoms.get_potential_energy() == atoms.positions.sum()
            other = calc.report.pid != pid
            calc.close()
            os.write(writing, b"yes" if right and other else b"no")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"yes"
    os.close(reading)
    os.close(writing)
    atoms.positions += 2
    assert atoms.get_potential_energy() == atoms.positions.sum()
    assert calc.report.pid == pid


def _energy(atoms: Atoms) -> float:
    return atoms.get_potential_energy()


def test_spawned_processes_get_their_own(make):
    atoms = copper()
    atoms.calc = make("probe-misbehaving")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_energy, [atoms]) == atoms.positions.sum()


def test_threads_are_serialised(make):
    calc = make("probe-misbehaving")
    wrong = []

    def work(number: int) -> None:
        for turn in range(20):
            atoms = copper(1 + number % 3)
            atoms.positions += number + turn
            atoms.calc = calc
            if atoms.get_potential_energy() != atoms.positions.sum():
                wrong.append((number, turn))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_worker_outlives_the_thread_that_started_it(make):
    calc = make("probe-misbehaving")
    thread = threading.Thread(target=calc.calculate, args=(copper(),))
    thread.start()
    thread.join()
    pid = calc.report.pid
    time.sleep(0.2)
    calc.calculate(copper(1))
    assert calc.report.pid == pid


@pytest.mark.parametrize("death", ["SIGKILL", "SIGTERM", "SystemExit", "nothing"])
def test_a_worker_dies_with_its_host(make, death):
    end = {
        "SystemExit": "sys.exit(0)",
        "nothing": "",
    }.get(death, f"os.kill(os.getpid(), signal.{death}); time.sleep(30)")
    code = (
        "import os, signal, sys, threading, time\n"
        "from ase.build import bulk\n"
        "from rootstock import RootstockCalculator\n"
        f"calc = RootstockCalculator(**{make('probe-misbehaving').parameters!r})\n"
        "atoms = bulk('Cu'); atoms.calc = calc; atoms.get_forces()\n"
        "print(calc.report.pid, flush=True)\n"
        "atoms.info['do'] = 'sleep-60'\n"
        "busy = threading.Thread(target=atoms.get_forces, daemon=True); busy.start(); time.sleep(0.3)\n"
        if death.startswith("SIG")
        else "import os, signal, sys, time\n"
        "from ase.build import bulk\n"
        "from rootstock import RootstockCalculator\n"
        f"calc = RootstockCalculator(**{make('probe-misbehaving').parameters!r})\n"
        "atoms = bulk('Cu'); atoms.calc = calc; atoms.get_forces()\n"
        "print(calc.report.pid, flush=True)\n"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", code + end], capture_output=True, text=True, check=False
    )
    pid = int(done.stdout)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()
    if not death.startswith("SIG"):
        assert done.returncode == 0
        assert done.stderr == ""


# --- what tools do to calculators ---------------------------------------------------------------


def test_parameters_are_json_and_make_an_equal_calculator(make):
    calc = make(setup_kwargs={"a": [1, 2]})
    assert (
        RootstockCalculator(**json.loads(json.dumps(calc.todict()))).parameters == calc.parameters
    )
    assert repr(calc).startswith("RootstockCalculator(model='probe-null'")
    assert calc.name == "rootstock"
    with pytest.raises(ConfigurationError, match="make another"):
        calc.set(model="other")


def test_trajectories_and_single_points_take_the_results(reference, tmp_path):
    atoms = copper()
    atoms.calc = reference
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    for name in ("a.traj", "a.extxyz"):
        frozen = atoms.copy()
        frozen.calc = SinglePointCalculator(frozen, energy=energy, forces=forces)
        write(tmp_path / name, frozen)
        assert np.allclose(read(tmp_path / name).get_forces(), forces)
    write(tmp_path / "b.traj", atoms)
    assert np.array_equal(read(tmp_path / "b.traj").get_forces(), forces)


def test_provenance_is_json(reference):
    provenance = json.loads(json.dumps(reference.provenance))
    assert provenance["model"] == "probe-reference"
    assert provenance["packages"]["ase"]
    assert len(provenance["environment_key"]) == 16


def test_calculation_required_and_get_property_without_calculating(make):
    calc = make()
    atoms = copper()
    assert calc.calculation_required(atoms, ["energy"])
    before = children()
    assert calc.get_property("energy", atoms, allow_calculation=False) is None
    assert children() == before
    calc.calculate(atoms, ["energy", "forces"])
    assert not calc.calculation_required(atoms, ["energy", "stress"])
    assert calc.atoms == atoms
    calc.reset()
    assert calc.calculation_required(atoms, ["energy"])


# --- an environment file as it is ---------------------------------------------------------------


def test_an_environment_file_is_used_as_it_is(probe_root, tmp_path):
    file = tmp_path / "ase.py"  # a name that must not shadow the package
    file.write_bytes(PROBE.read_bytes())
    atoms = copper()
    with RootstockCalculator(environment=file, model="reference", device="cpu") as calc:
        atoms.calc = calc
        assert atoms.get_potential_energy() == direct(atoms, "energy")["energy"]
        assert not list(tmp_path.glob("*.lock"))


@pytest.mark.model
def test_an_environment_file_and_a_root(probe_root, tmp_path):
    file = tmp_path / "my models.py"
    file.write_bytes(PROBE.read_bytes())
    with RootstockCalculator(environment=file, model="null", root=probe_root, device="cpu") as calc:
        calc.calculate(copper())
        assert calc.provenance["environment"] == "my models"
    assert list(tmp_path.iterdir()) == [file]
