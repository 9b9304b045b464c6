"""rootstock.compare."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator

import rootstock
from rootstock.errors import ConfigurationError, UnknownNameError, WeightsError
from rootstock.workflows.compare import compare
from tests.support.comparisons_of_models import crystals, model


def compare_builds(root, structures, models, **options):
    options = {"root": root, "device": "cpu", "progress": False, **options}
    return rootstock.compare(structures, models, **options)


def test_numbers_of_real_workers_are_those_computed_by_hand(root):
    images = crystals(4)
    comparison = compare_builds(root, images, ["compared-1", "compared-2", "compared-4,5"])
    assert comparison.labels == ("compared-1", "compared-2", "compared-4,5")
    for s, atoms in enumerate(images):
        distances = np.linalg.norm(atoms.positions, axis=1)
        rms = np.sqrt((distances**2).mean())
        np.testing.assert_allclose(
            comparison.pair_forces_rms_eV_per_A[s],
            np.array([[0, 1, 3], [1, 0, 2], [3, 2, 0]]) * rms,
        )
        spread = np.std([1, 2, 4]) * distances
        np.testing.assert_allclose(comparison.forces_std_eV_per_A[s], spread)
        assert comparison.forces_std_max_eV_per_A[s] == pytest.approx(spread.max())
        for k, constant in enumerate((1, 2, 4)):
            np.testing.assert_allclose(
                comparison.forces_eV_per_A[s][k], -constant * atoms.positions
            )
    components = np.concatenate([np.ravel(atoms.positions) for atoms in images])
    first = comparison.statistics[0]
    assert first.forces_rmse_eV_per_A == pytest.approx(4 / 3 * np.sqrt((components**2).mean()))
    assert first.forces_mae_eV_per_A == pytest.approx(4 / 3 * np.abs(components).mean())
    np.testing.assert_allclose(comparison.stress_eV_per_A3[1, 0], 0.02 * np.arange(1, 7))
    assert comparison.energies.scheme == "per composition"
    np.testing.assert_allclose(comparison.energies.deviations_eV_per_atom, 0, atol=1e-9)


def test_what_is_said_about_a_model(root):
    comparison = compare_builds(root, crystals(2), ["compared-1", "compared-3"])
    first, second = comparison.models
    assert (first.licence, first.level_of_theory) == ("MIT", "PBE")
    assert first.elements == ("Cu", "Na", "Cl")
    assert (first.evaluated, first.failed, first.stresses, first.natoms) == (2, 0, 2, 12)
    assert first.atoms_per_second > 0 and first.peak_memory_MiB > 1
    assert first.provenance["model"] == "compared-1" and first.provenance["build"] == "build"
    assert second.level_of_theory == "r2SCAN"
    assert any("levels of theory (PBE, r2SCAN)" in note for note in comparison.notes)
    copy = pickle.loads(pickle.dumps(comparison))
    np.testing.assert_array_equal(copy.energies_eV, comparison.energies_eV)


def test_speed_leaves_out_the_start(root, monkeypatch):
    import time

    from rootstock.runtime.session import Session

    start = Session._start

    def slow(self):
        time.sleep(1.5)
        return start(self)

    monkeypatch.setattr(Session, "_start", slow)
    comparison = compare_builds(root, crystals(2), ["compared-1", "compared-2"])
    assert all(m.seconds < 1 for m in comparison.models)


@pytest.mark.parametrize("fault", ["raise_on", "die_on"])
def test_a_failing_model_keeps_its_other_structures(root, fault):
    models = ["compared-1", ("compared-2", {"setup_kwargs": {fault: "Na"}})]
    comparison = compare_builds(root, crystals(4), models)
    assert [m.failed for m in comparison.models] == [0, 2]
    assert {(f.model, f.structure) for f in comparison.failures} == {(1, 1), (1, 3)}
    assert np.isnan(comparison.forces_eV_per_A[1][1]).all()
    assert np.isnan(comparison.forces_std_max_eV_per_A[1])
    assert np.isnan(comparison.target_forces_eV_per_A[1]).all()
    assert comparison.pairs_eV_per_A[0, 1] > 0
    assert "2 of 4 structures were evaluated by all models that ran." in comparison.notes
    assert comparison.energies.scheme == "per element"  # copper is left


def test_a_model_that_does_not_start_is_listed(root):
    broken = ("compared-2", {"setup_kwargs": {"does_not_start": True}})
    comparison = compare_builds(root, crystals(4), ["compared-1", broken, "compared-3"])
    assert "no room for this model" in comparison.models[1].reason
    assert [m.evaluated for m in comparison.models] == [4, 0, 4]
    assert any(note.startswith("compared-2 evaluated nothing") for note in comparison.notes)
    assert np.isfinite(comparison.pairs_eV_per_A[0, 2])
    assert np.isnan(comparison.pairs_eV_per_A[0, 1])
    assert comparison.statistics[0].force_components == 72


def test_missing_weights_are_a_reason(root, monkeypatch):
    def make(text, **arguments):
        if text == "compared-2":
            raise WeightsError("the weights of compared-2 are missing: rootstock fetch compared-2")
        return original(text, **arguments)

    from rootstock.workflows import model_run

    original = model_run.make_spec
    monkeypatch.setattr(model_run, "make_spec", make)
    comparison = compare_builds(root, crystals(2), ["compared-1", "compared-2"])
    assert comparison.models[1].reason.startswith("WeightsError: the weights of compared-2")
    assert any("1 of 2 models gave forces" in note for note in comparison.notes)


def test_duplicates_get_labels(root):
    models = ["compared-1", "compared-1", ("compared-1", {"setup_kwargs": {"stress": False}})]
    comparison = compare_builds(root, crystals(2), models)
    assert comparison.labels == ("compared-1", "compared-1 #2", "compared-1 (stress=False)")
    assert comparison.models[2].stresses == 0
    assert "compared-1 (stress=False) has no stress for these structures." in comparison.notes


def test_a_store_does_only_what_is_missing(root, tmp_path):
    images, folder = crystals(4), tmp_path / "results"
    models = ["compared-1", "compared-1", ("compared-1", {"setup_kwargs": {"stress": False}})]
    first = compare_builds(root, images[:2], models[1:], store=folder)
    second = compare_builds(root, images, models[1:], store=folder, tests=["eos"])
    assert [m.natoms for m in first.models] == [12, 12]
    assert [m.natoms for m in second.models] == [12 + 6 * 12] * 2  # the rest, and other volumes
    third = compare_builds(root, images, models, store=folder, tests=["eos"])
    assert [m.natoms for m in third.models] == [0, 0, 0]
    assert third.models[0].atoms_per_second is None and third.models[0].peak_memory_MiB is None
    np.testing.assert_array_equal(third.energies_eV[1:], second.energies_eV)
    assert len(list(folder.glob("*.db"))) == 2


def test_equations_of_state(root):
    images = [*crystals(4), molecule("H2O")]
    comparison = compare_builds(root, images, ["compared-1", "compared-2"], tests=["eos"])
    assert [(c.structure, c.model) for c in comparison.eos] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for curve in comparison.eos:
        natoms, constant = len(images[curve.structure]), curve.model + 1
        assert curve.result.V0_A3 / natoms == pytest.approx(11, rel=1e-3)
        # E = K n (V / 11 n - 1)^2, so that B0 = V0 E'' = 2 K / 11
        assert curve.result.B0_GPa == pytest.approx(160.2177 * 2 * constant / 11, rel=0.03)


def test_errors_of_equations_of_state(root):
    broken = ("compared-2", {"setup_kwargs": {"raise_on": "Na"}})
    far = crystals(2)
    far[0].set_cell(far[0].cell * 1.3, scale_atoms=True)
    comparison = compare_builds(root, far, ["compared-1", broken], tests=["eos"])
    errors = [curve.error for curve in comparison.eos]
    assert errors[0] == errors[1] == "the energy has no minimum within the volumes"
    assert errors[2] == "" and errors[3].startswith("ModelError: KeyError: 'Na'")


def labelled(images, forces=True):
    for atoms in images:
        results = {"energy": 3.0 * len(atoms)}
        if forces:
            results["forces"] = -2 * atoms.positions
        atoms.calc = SinglePointCalculator(atoms, **results)
    return images


def test_a_reference_in_the_structures():
    comparison = compare(labelled(crystals(4)), [model(1, "a"), model(2, "b")])
    assert comparison.forces_target == comparison.energies.target == "reference"
    assert comparison.statistics[1].forces_rmse_eV_per_A == pytest.approx(0)
    assert comparison.statistics[0].forces_rmse_eV_per_A > 0.1


def test_one_model_and_a_reference():
    comparison = compare(labelled(crystals(4)), [model(2, "a")])
    assert comparison.statistics[0].forces_mae_eV_per_A == pytest.approx(0)
    assert np.isnan(comparison.forces_std_max_eV_per_A).all()


def test_a_reference_without_forces():
    images = crystals(4)
    comparison = compare(
        images, [model(1, "a"), model(2, "b")], reference=labelled(crystals(4), forces=False)
    )
    assert (comparison.forces_target, comparison.energies.target) == ("mean", "reference")
    assert any("reference has no forces" in note for note in comparison.notes)


def test_no_common_structure():
    models = [model(1, "a", unknown=[11]), model(2, "b", unknown=[29])]
    comparison = compare(crystals(4), models)
    assert comparison.energies.scheme == "none"
    assert any("No structure was evaluated by all models" in note for note in comparison.notes)
    assert np.isnan(comparison.pairs_eV_per_A[0, 1])


def test_many_crystals_have_no_equation_of_state():
    symbols = ["Cu", "Al", "Ni", "Pd", "Pt", "Ag", "Au", "Pb", "Ir", "Rh", "Ca", "Sr", "Yb", "Ce"]
    images = [bulk(symbol, "fcc", a=3.5) for symbol in symbols]
    comparison = compare(images, [model(1, "a"), model(2, "b")], tests=["eos"])
    assert len(comparison.eos) == 24
    assert any("2 further crystals" in note for note in comparison.notes)


@pytest.mark.parametrize(
    ("images", "models", "options", "message"),
    [
        ([], ["a", "b"], {}, "no structures"),
        (crystals(1), ["a"], {}, "at least two models"),
        (crystals(1), "ab", {}, "at least two models"),
        (crystals(1), [], {}, "at least two models"),
        (crystals(1), ["a", "b"], {"tests": ["oes"]}, "unknown test 'oes'"),
        (crystals(1), ["a", "b"], {"reference": crystals(1)}, "no energies and forces"),
    ],
)
def test_invalid_input(images, models, options, message):
    with pytest.raises(ConfigurationError, match=message):
        compare(images, models, **options)


def test_an_unknown_model_is_an_error_before_anything_runs(root):
    with pytest.raises(UnknownNameError, match="comparde"):
        compare_builds(root, crystals(1), ["compared-1", "comparde-2"])
