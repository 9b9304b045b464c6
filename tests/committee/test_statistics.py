"""Alignment of energies, differences within a composition, and calibration."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from ase.md.verlet import VelocityVerlet

from rootstock import Committee, ConfigurationError, RootstockCalculator
from rootstock.committee import (
    Alignment,
    DisagreementMonitor,
    combine,
    fit_alignment,
    relative_energy_std,
)
from rootstock.committee.calibration import musil_factor
from rootstock.errors import DisagreementError
from rootstock.evaluation.result import with_results

NAMES = ("a", "b", "c")
#: Each member's shift of Na and Cl, which the fit has to find (up to their mean).
SHIFTS = np.array([[1.0, -2.0], [0.5, 3.0], [-4.0, 100.0]])


def species(*counts):
    return [np.array([11] * sodium + [17] * chlorine) for sodium, chlorine in counts]


def energies(numbers, noise=0.0):
    random = np.random.default_rng(0)
    counts = np.array([[(n == 11).sum(), (n == 17).sum()] for n in numbers])
    true = random.normal(size=len(numbers))
    return true + SHIFTS @ counts.T + noise * random.normal(size=(3, len(numbers)))


def test_shifts_are_found_for_each_element():
    numbers = species((1, 1), (2, 1), (1, 3), (4, 4))
    alignment = fit_alignment(NAMES, energies(numbers), numbers)
    np.testing.assert_allclose(alignment.shifts_eV, SHIFTS - SHIFTS.mean(axis=0), atol=1e-12)
    assert alignment.is_complete and alignment.rank == 2
    assert max(alignment.rmse_eV_per_atom) < 1e-12
    (other,) = species((5, 2))
    aligned = alignment.apply(energies([other])[:, 0], other)
    np.testing.assert_allclose(aligned, aligned[0], atol=1e-10)


def test_one_composition_aligns_only_itself():
    numbers = species((1, 1), (2, 2), (4, 4))
    alignment = fit_alignment(NAMES, energies(numbers), numbers)
    assert alignment.rank == 1 and not alignment.is_complete
    same, other = species((3, 3), (1, 2))
    np.testing.assert_allclose(np.ptp(alignment.apply(energies([same])[:, 0], same)), 0, atol=1e-9)
    assert alignment.apply(np.zeros(3), other) is None


def test_unknown_elements_are_not_aligned():
    numbers = species((1, 1), (2, 1), (1, 3))
    assert (
        fit_alignment(NAMES, energies(numbers), numbers).apply(np.zeros(3), np.array([29])) is None
    )


@pytest.mark.parametrize("numbers", [[], species((1, 1)), species((1, 1), (1, 2))])
def test_a_fit_that_leaves_nothing_is_refused(numbers):
    with pytest.raises(ConfigurationError, match="more structures than compositions"):
        fit_alignment(NAMES, np.zeros((3, len(numbers))), numbers)


def test_an_alignment_is_saved(tmp_path):
    numbers = species((1, 1), (2, 2), (4, 4))
    alignment = fit_alignment(NAMES, energies(numbers), numbers)
    alignment.save(tmp_path / "alignment.json")
    assert Alignment.load(tmp_path / "alignment.json") == alignment
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="as an alignment"):
        Alignment.load(tmp_path / "other.json")


def test_aligned_energies_have_a_spread():
    results = [{"energy": e, "forces": np.zeros((4, 3))} for e in (10.0, 20.0, 30.0)]
    combined = combine(results, aligned=np.array([1.0, 1.2, 1.4]), natoms=4)
    assert combined["energy"] == 20.0
    assert combined["energy_std_per_atom"] == pytest.approx(np.std([1.0, 1.2, 1.4]) / 4)
    assert combined["energy_var"] == pytest.approx(np.var([1.0, 1.2, 1.4]))


def test_differences_within_a_composition():
    numbers = species((1, 1), (2, 1), (1, 1), (1, 1))
    values = np.array([[0.0, 5, 1, 2], [10, 9, 13, 10]])
    spread = relative_energy_std(values, numbers)
    relative = values[:, [0, 2, 3]] - values[:, [0, 2, 3]].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(spread[[0, 2, 3]], relative.std(axis=0) / 2)
    assert np.isnan(spread[1])


# --- in a committee -------------------------------------------------------------------------------


def crystals():
    images = [bulk("Cu", cubic=True, a=a) for a in (3.5, 3.6, 3.7)]
    return [*images, bulk("Ni"), bulk("Ni", a=3.4)]


def test_a_committee_is_aligned_at_its_first_calculation(root, copper):
    models = ["springs-1,5", "springs-2,-3"]
    with Committee(models, align=crystals(), root=root, device="cpu") as calc:
        copper.calc = calc
        copper.get_potential_energy()
        assert calc.results["energy_std_per_atom"] < 2.0
        assert np.ptp(calc.results["energy_comm"]) > 8 * 29 * 3
        assert calc.provenance["alignment"]["symbols"] == ["Ni", "Cu"]
        calc.get_potential_energy(bulk("Al"))
        assert "energy_std_per_atom" not in calc.results


def test_an_alignment_belongs_to_its_members(root, tmp_path):
    with Committee(["springs-1", "springs-2"], root=root, device="cpu") as calc:
        calc.fit_alignment(crystals()).save(str(tmp_path / "a.json"))
    with pytest.raises(ConfigurationError, match="is for springs-1, springs-2, and this committee"):
        Committee(["springs-2", "springs-1"], align=tmp_path / "a.json", root=root)


def test_a_failed_fit_is_tried_again(root, monkeypatch):
    models = ["springs-1", "springs-2"]
    with Committee(models, align=crystals(), root=root, device="cpu") as calc:
        with monkeypatch.context() as patch:
            patch.setattr(Committee, "_energies", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                calc.get_forces(bulk("Cu"))
        calc.get_forces(bulk("Cu"))
        assert "energy_std_per_atom" in calc.results


def test_a_drop_ends_alignment_and_calibration(root):
    options = {"root": root, "device": "cpu", "threads": 1}
    kinds = [{}, {"raise_on": "Al"}, {}]
    members = [
        RootstockCalculator(f"springs-{k}", setup_kwargs=kind, **options)
        for k, kind in zip((1, 2, 4), kinds)
    ]
    with Committee(members, align=crystals(), on_error="drop") as calc:
        calc.get_forces(bulk("Cu"))
        assert "energy_std_per_atom" in calc.results
        with pytest.warns(RuntimeWarning, match="springs-2"):
            calc.get_forces(bulk("Al"))
        assert "energy_std_per_atom" not in calc.results and calc.alignment is None
        calc.fit_alignment(crystals())
        calc.get_forces(bulk("Cu"))
        assert "energy_std_per_atom" in calc.results


def test_vector_moments_and_small_crystals():
    results = [
        {"forces": np.zeros((6, 3)), "magmoms": np.ones((6, 3)) * k, "stress": np.ones(6) * k}
        for k in (1, 2)
    ]
    combined = combine(results)
    assert combined["magmoms_comm"].shape == (2, 6, 3)
    atoms = with_results(bulk("Cu") * (6, 1, 1), combined)
    assert "stress_std" in atoms.info and "stress_var" in atoms.info
    assert atoms.arrays["forces_std"].shape == (6,)


def test_an_incomplete_alignment_is_warned_about(root):
    images = [bulk("NaCl", "rocksalt", a=a) for a in (5.5, 5.6, 5.7)]
    with Committee(["springs-1", "springs-2"], root=root, device="cpu") as calc:
        with pytest.warns(RuntimeWarning, match="span 1 of 2 elements"):
            calc.fit_alignment(images)


# --- calibration ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("size", [4, 8, 32])
def test_the_factor_is_found_in_synthetic_data(alpha, size):
    random = np.random.default_rng(3)
    number = 400_000
    sigma = random.uniform(0.1, 2.0, number)
    members = sigma * random.normal(size=(size, number))
    truth = alpha * sigma * random.normal(size=number)
    tolerance = 0.15 if size == 4 else 0.02  # four members: the ratio has no variance
    assert musil_factor(members, truth) == pytest.approx(alpha, rel=tolerance)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (np.zeros((3, 10)), "a committee of 3 can't be calibrated"),
        (np.zeros((4, 10)), "too few values"),
        (np.random.default_rng(0).normal(size=(8, 10)), "disagree more"),
    ],
)
def test_calibrations_that_are_impossible(members, message):
    with pytest.raises(ConfigurationError, match=message):
        musil_factor(members, members.mean(axis=0))


def test_forces_that_vanish_by_symmetry_do_not_count():
    random = np.random.default_rng(5)
    members, truth = random.normal(size=(8, 3000)), random.normal(size=3000)
    alpha = musil_factor(members, truth)
    members[:, :30] *= 1e-8  # rounding, beside errors of the reference
    truth[:30] *= 1e-4
    assert musil_factor(members, truth) == pytest.approx(alpha, rel=0.05)


def test_weights_and_generators(root):
    models = [f"springs-{k}" for k in (1, 2, 4, 5)]
    with Committee(models, weights=[1, 1, 1, 2], root=root, device="cpu") as calc:
        with pytest.raises(ConfigurationError, match="with weights can't be calibrated"):
            calc.calibrate(reference())
    with Committee(models, root=root, device="cpu") as calc:
        images = [bulk("Cu"), *reference()]
        assert calc.calibrate(iter(images)).structures == 12


def reference(k=5.0):
    images = []
    for seed in range(12):
        atoms = bulk("Cu" if seed % 2 else "Ni", cubic=True)
        atoms.rattle(0.2, seed=seed)
        energy = k * (atoms.positions**2).sum() / 2 - 7.0 * len(atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=-k * atoms.positions)
        images.append(atoms)
    return images


def test_a_calibrated_committee(root, copper):
    models = [f"springs-{k}" for k in (1.0, 2.0, 2.5, 4.0)]
    with Committee(models, align=crystals(), root=root, device="cpu") as calc:
        calc.get_forces(copper)
        assert "forces_uncertainty" not in calc.results
        calibration = calc.calibrate(reference())
        constants = np.array([1.0, 2.0, 2.5, 4.0])
        ratio = (5.0 - constants.mean()) ** 2 / constants.var(ddof=1)
        assert calibration.alpha_forces == pytest.approx(np.sqrt(-1 / 4 + ratio / 3))
        assert calibration.alpha_energy > 0
        calc.get_forces(copper)
        expected = calibration.alpha_forces * constants.std(ddof=1)
        np.testing.assert_allclose(
            calc.results["forces_uncertainty"],
            expected * np.linalg.norm(copper.positions, axis=1),
        )
        assert calc.results["energy_uncertainty_per_atom"] > 0
        assert calc.provenance["calibration"]["members"] == 4


def test_a_reference_without_results_is_refused(root):
    with Committee([f"springs-{k}" for k in (1, 2, 4, 5)], root=root, device="cpu") as calc:
        with pytest.raises(ConfigurationError, match="no structure has reference forces"):
            calc.calibrate([bulk("Cu"), Atoms("H")])


# --- the hook -------------------------------------------------------------------------------------


@pytest.fixture
def hot(root, copper):
    with Committee(["springs-1", "springs-2"], root=root, device="cpu") as calc:
        copper.calc = calc
        yield copper


def test_dynamics_stop(hot, tmp_path):
    dynamics = VelocityVerlet(hot, 1.0)
    dynamics.attach(DisagreementMonitor(hot, 0.1, path=tmp_path / "seen.xyz"), interval=1)
    with pytest.raises(DisagreementError, match="about the force on atom"):
        dynamics.run(5)
    assert read(tmp_path / "seen.xyz").arrays["forces_std"].shape == (4,)


def test_dynamics_go_on(hot, tmp_path):
    writing = DisagreementMonitor(hot, 0.1, "write", tmp_path / "seen.xyz")
    quiet = DisagreementMonitor(hot, 100.0)
    dynamics = VelocityVerlet(hot, 1.0)
    dynamics.attach(writing, interval=2)
    dynamics.attach(quiet)
    dynamics.run(4)
    assert (writing.exceeded, quiet.exceeded) == (3, 0)
    assert len(read(tmp_path / "seen.xyz", ":")) == 3
    with pytest.warns(RuntimeWarning, match="disagree by"):
        DisagreementMonitor(hot, 0.1, "warn")()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, "shout"), "must be one of"),
        ((0.0,), "positive"),
        ((float("nan"),), "positive"),
        ((0.1, "write"), "needs path"),
    ],
)
def test_invalid_monitors(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        DisagreementMonitor(bulk("Cu"), *arguments)
