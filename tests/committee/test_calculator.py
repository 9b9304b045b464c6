"""Committee: several models as one ASE calculator."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.optimize import BFGS

import rootstock
from rootstock import Committee, ConfigurationError, RootstockCalculator
from rootstock.errors import ModelError, PropertyMissingError, StartupError, WorkerDiedError
from tests.support.processes import worker_pids

MODELS = ["springs-1", "springs-2", "springs-4"]


@pytest.fixture
def committee(root):
    with Committee(MODELS, root=root, device="cpu") as calc:
        yield calc


def members(root, *options, names=MODELS):
    """Calculators with options of setup()."""
    return [
        RootstockCalculator(name, root=root, device="cpu", threads=1, setup_kwargs=kwargs)
        for name, kwargs in zip(names, [*options, *[{}] * 9])
    ]


def test_results_by_hand(committee, copper):
    copper.calc = committee
    forces = copper.get_forces()
    single = np.array([-1.0, -2.0, -4.0])[:, None, None] * copper.positions
    assert (forces == single.mean(axis=0)).all()
    results = committee.results
    assert (results["forces_comm"] == single).all()
    variance = ((single - single.mean(axis=0)) ** 2).mean(axis=0)
    np.testing.assert_allclose(results["forces_var"], variance, rtol=1e-14)
    np.testing.assert_allclose(results["forces_std"], np.sqrt(variance.sum(axis=1)), rtol=1e-14)
    assert results["forces_std_max"] == results["forces_std"].max()
    assert results["forces_std_mean"] == results["forces_std"].mean()
    assert copper.get_potential_energy() == results["energy_comm"].mean()
    assert results["committee_size"] == 3
    np.testing.assert_allclose(copper.get_stress(), 0.01 * 7 / 3 * np.arange(1, 7), rtol=1e-14)
    assert results["stress_comm"].shape == (3, 6)
    assert "energy_var" not in results and "energy_std_per_atom" not in results


def test_results_equal_single_calls_bit_for_bit(root, copper):
    singles = members(root)
    committee = Committee(singles)
    copper.calc = committee
    forces = copper.get_forces()
    for number, calc in enumerate(singles):
        assert (
            calc.get_property("forces", copper) == committee.results["forces_comm"][number]
        ).all()
    assert (forces == np.mean(committee.results["forces_comm"], axis=0)).all()
    committee.close()
    for calc in singles:
        calc.close()


def test_weights(root, copper):
    with Committee(MODELS, weights=[2, 1, 1], root=root, device="cpu") as calc:
        np.testing.assert_allclose(calc.get_forces(copper), -2.0 * copper.positions, rtol=1e-13)
        np.testing.assert_allclose(
            calc.results["forces_var"], 1.5 * copper.positions**2, rtol=1e-13
        )


def test_results_are_double_precision(root, copper):
    with Committee(members(root, {"dtype": "float32"})) as calc:
        assert calc.get_forces(copper).dtype == np.float64
        assert calc.results["forces_comm"].dtype == np.float64


def test_properties_that_a_member_lacks(root, copper):
    with Committee(members(root, {"stress": False})) as calc:
        copper.calc = calc
        assert copper.get_forces().shape == (4, 3)
        assert "stress" not in calc.results
        with pytest.raises(PropertyMissingError, match="springs-1"):
            copper.get_stress()
        with pytest.raises(PropertyMissingError, match="dipole"):
            copper.get_dipole_moment()
        water = molecule("H2O")
        assert calc.get_property("forces_std", water).shape == (3,)


def test_nothing_is_calculated_twice(committee, copper, monkeypatch):
    calls = []
    evaluate = RootstockCalculator.results_of
    monkeypatch.setattr(
        RootstockCalculator, "results_of", lambda *a: calls.append(1) or evaluate(*a)
    )
    copper.calc = committee
    copper.get_forces()
    copper.get_potential_energy()
    copper.get_stress()
    assert len(calls) == 3
    copper.positions[0, 0] += 0.1
    copper.get_forces()
    assert len(calls) == 6


def test_members_run_at_the_same_time(root, copper):
    slow = {"seconds": 0.5}
    with Committee(members(root, slow, slow, slow)) as calc:
        calc.get_forces(copper)
        copper.positions[0, 0] += 0.1
        started = time.monotonic()
        calc.get_forces(copper)
        assert time.monotonic() - started < 1.0  # one after the other: 1.5


def test_threads_are_divided(root, copper, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(12)))
    with Committee(MODELS, root=root, device="cpu") as calc:
        assert [member.spec.threads for member in calc.members] == [4, 4, 4]
    with Committee(MODELS, root=root, device="cpu", threads=2) as calc:
        assert [member.spec.threads for member in calc.members] == [2, 2, 2]


def test_devices(root):
    with Committee(MODELS, root=root, devices=["cpu", "cuda:0", "cuda:1"]) as calc:
        assert [member.spec.device for member in calc.members] == ["cpu", "cuda:0", "cuda:1"]


def test_duplicate_members_with_other_settings(root, copper):
    same = members(root, {}, {"dtype": "float32"}, names=["springs-1", "springs-1"])
    with Committee(same) as calc:
        calc.get_forces(copper)
        assert 0 < calc.results["forces_std_max"] < 1e-6


# --- members that fail ----------------------------------------------------------------------------


def test_a_member_that_fails_is_named(root, copper):
    with Committee(members(root, {}, {"raise_on": "Cu"})) as calc:
        with pytest.raises(
            ModelError, match="member 'springs-2' of the committee: KeyError"
        ) as info:
            calc.get_forces(copper)
        assert "Traceback" in str(info.value.__cause__)
        assert calc.get_forces(bulk("Ni")).shape == (1, 3)


def test_a_member_that_dies_is_named(root, copper):
    with Committee(members(root, {}, {}, {"die_on": "Cu"})) as calc:
        with pytest.raises(WorkerDiedError, match="member 'springs-4'"):
            calc.get_forces(copper)
        assert calc.get_forces(bulk("Ni")).shape == (1, 3)


def test_a_dropped_member_stays_dropped(root, copper):
    with Committee(members(root, {}, {"raise_on": "Cu"}), on_error="drop") as calc:
        with pytest.warns(RuntimeWarning, match="left out of the committee: springs-2: KeyError"):
            forces = calc.get_forces(copper)
        np.testing.assert_allclose(forces, -2.5 * copper.positions)
        assert calc.results["committee_size"] == 2
        assert set(calc.dropped) == {"springs-2"}
        calc.get_forces(bulk("Ni"))
        assert calc.results["committee_size"] == 2


def test_weights_of_dropped_members_go(root, copper):
    calc = Committee(members(root, {"raise_on": "Cu"}), weights=[5, 1, 3], on_error="drop")
    with calc, pytest.warns(RuntimeWarning, match="springs-1"):
        np.testing.assert_allclose(calc.get_forces(copper), -3.5 * copper.positions)


def test_a_member_that_does_not_start(root, copper):
    broken = members(root, {}, names=["springs-1", "springs-x", "springs-4"])
    with Committee(broken) as calc:
        with pytest.raises(StartupError, match="member 'springs-x' of the committee"):
            calc.get_forces(copper)
    with Committee(broken, on_error="drop") as calc:
        with pytest.warns(RuntimeWarning, match="springs-x"):
            np.testing.assert_allclose(calc.get_forces(copper), -2.5 * copper.positions)


def test_a_property_that_a_member_lacks_drops_nothing(root):
    water = molecule("H2O")
    with Committee(members(root), on_error="drop") as calc:
        with pytest.raises(PropertyMissingError, match="stress"):
            calc.get_stress(water)
        assert len(calc.members) == 3 and not calc.dropped
        crystal, water = rootstock.evaluate([bulk("Cu"), water], calc, progress=False)
    assert "stress" in crystal.results
    assert water.ok and "stress" not in water.results


def test_nothing_is_dropped_if_too_few_would_be_left(root, copper):
    failing = [{"raise_on": "Cu"}] * 3
    with Committee(members(root, *failing), on_error="drop") as calc:
        with pytest.raises(ConfigurationError, match="0 of 3 members are left"):
            calc.get_forces(copper)
        assert calc.names == MODELS and not calc.dropped
        calc.get_forces(bulk("Ni"))


def test_two_members_have_to_be_left(root, copper):
    failing = [{"raise_on": "Cu"}, {"raise_on": "Cu"}]
    with Committee(members(root, *failing), on_error="drop") as calc:
        with pytest.raises(ConfigurationError, match="1 of 3 members are left"):
            calc.get_forces(copper)


def test_an_interrupt_kills_what_has_not_answered(root, copper):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
    with Committee(members(root, {"seconds": 0.2}, {"seconds": 30})) as calc:
        timer = threading.Timer(2.0, os.kill, [os.getpid(), signal.SIGINT])
        timer.start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            calc.get_forces(copper)
        assert time.monotonic() - started < 15
    signal.signal(signal.SIGINT, before)
    assert not worker_pids()


# --- copies ---------------------------------------------------------------------------------------


def test_copies_share_the_workers(committee, copper):
    copper.calc = committee
    copper.get_forces()
    before = worker_pids()
    twin, deep = copy.copy(committee), copy.deepcopy(copper)
    other = bulk("Ni")
    np.testing.assert_allclose(twin.get_forces(other), -7 / 3 * other.positions)
    deep.positions[0, 0] += 0.1
    deep.get_forces()
    assert worker_pids() == before
    assert (committee.get_forces(copper) == copper.get_forces()).all()
    twin.close()
    deep.calc.close()
    copper.positions[0, 0] += 0.1
    copper.get_forces()
    assert worker_pids() == before


def test_a_pickle_starts_its_own_workers(committee, copper):
    copper.calc = committee
    forces = copper.get_forces()
    twin = pickle.loads(pickle.dumps(committee))
    assert (twin.get_forces(copper) == forces).all()
    twin.close()


def test_an_optimizer(committee):
    atoms = bulk("Cu", cubic=True)
    atoms.calc = committee
    assert BFGS(atoms, logfile=None).run(fmax=0.01, steps=50)
    assert np.abs(atoms.positions).max() < 0.01


def test_many_structures(committee, tmp_path):
    images = [bulk("Cu", cubic=True, a=a) for a in (3.5, 3.6, 3.7)]
    found = list(rootstock.evaluate(images, committee, progress=False))
    assert all(evaluation.ok for evaluation in found)
    atoms = found[1].to_atoms()
    assert atoms.arrays["forces_std"].shape == (4,)
    assert atoms.arrays["forces_var"].shape == (4, 3)
    assert atoms.info["forces_comm"].shape == (3, 4, 3)
    assert [m["model"] for m in found[0].provenance["members"]] == MODELS


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ("springs-1", {}, "at least two members"),
        ([], {}, "at least two members"),
        (["springs-1"], {}, "at least two members"),
        (MODELS, {"weights": [1, 2]}, "3 members need 3 weights"),
        (MODELS, {"weights": [1, -1, 1]}, "must be positive"),
        (MODELS, {"weights": [0, 0, 0]}, "must be positive"),
        (MODELS, {"weights": [1, np.nan, 1]}, "must be positive"),
        (MODELS, {"devices": ["cpu"]}, "device of each member"),
        (MODELS, {"devices": ["cpu", "cpu", "gpu"]}, "invalid device 'gpu'"),
        (MODELS, {"on_error": "ignore"}, "must be 'raise' or 'drop'"),
        ([*MODELS, "sprin"], {}, "sprin"),
        (MODELS, {"devcie": "cpu"}, "did you mean 'device'"),
        (MODELS, {"align": "no-such-file.json"}, "as an alignment"),
    ],
)
def test_invalid_arguments(root, names, options, message):
    with pytest.raises(ConfigurationError, match=message):
        Committee(names, root=root, **options)


def test_other_levels_of_theory_are_warned_about(root):
    with pytest.warns(RuntimeWarning, match="springs-2: PBE, springs-3: r2SCAN"):
        Committee(["springs-2", "springs-3"], root=root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Committee(["springs-1", "springs-2", "springs-5", "springs-4"], root=root)
