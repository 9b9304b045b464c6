"""verify: a model in its environment, compared with the direct call."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule

import rootstock
from rootstock import RootstockCalculator
from rootstock.conformance import latest, verify
from rootstock.conformance.direct_call import DirectCall
from rootstock.conformance.repeat_checks import check_against_direct_call
from rootstock.errors import ConfigurationError, EnvironmentFileError, StartupError
from rootstock.maintenance.status import status
from rootstock.runtime.preparation import prepare
from rootstock.runtime.session import Session
from rootstock.settings.root import Root
from rootstock.structures import from_atoms
from rootstock.testing import fake_environment
from tests.support.comparisons import identical
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import PROBE
from tests.support.probe_env import Reference
from tests.support.structures import copper

DIRECT = "equals the direct call in the environment"


def by_name(verification):
    return {check.name: check for check in verification.checks}


def rich_copper():
    """Return copper with every input that a model may read besides positions."""
    atoms = copper(1)
    atoms.set_initial_charges([0.5, -0.5, 0.25, 0.0])
    atoms.set_initial_magnetic_moments([1.0, -1.0, 2.0, 0.0])
    atoms.set_tags([1, 2, 3, 4])
    atoms.set_array("own", np.arange(4, dtype=np.float32))
    atoms.info.update(charge=2, spin=np.float32(1.5), nested={"kpts": (1, 2, 3)})
    return atoms


@pytest.fixture
def reference_spec(probe_root):
    return prepare("probe-reference", root=probe_root, device="cpu")


# --- the direct call ------------------------------------------------------------------------------


def test_the_direct_call_gets_every_input_and_keeps_every_bit(reference_spec):
    atoms = rich_copper()
    atoms.calc = Reference()
    names = list(Reference.implemented_properties)
    for name in names:
        atoms.calc.get_property(name, atoms)
    (results,) = DirectCall(reference_spec, "cpu").evaluate([from_atoms(atoms)], names)
    for name in (*names, "complex", "empty", "zero_d", "count", "flag"):
        assert identical(results[name], atoms.calc.results[name]), name


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.set_initial_charges([1.0, 0.0, 0.0, 0.0]),
        lambda a: a.set_initial_magnetic_moments([1.0, 0.0, 0.0, 0.0]),
        lambda a: a.set_tags([5, 0, 0, 0]),
        lambda a: a.info.update(charge=3),
        lambda a: a.set_pbc([True, False, True]),
        lambda a: a.set_array("own", np.ones(4)),
    ],
)
def test_the_direct_call_sees_a_change_of_any_input(reference_spec, change):
    changed = rich_copper()
    change(changed)
    structures = [from_atoms(rich_copper()), from_atoms(changed)]
    before, after = DirectCall(reference_spec, "cpu").evaluate(structures, ["energy"])
    assert before["energy"] != after["energy"]


def test_the_worker_equals_the_direct_call_for_every_property(reference_spec):
    structures = [from_atoms(rich_copper()), from_atoms(copper(2))]
    (repeats, equals), noise = check_against_direct_call(
        lambda: Session(reference_spec),
        lambda: DirectCall(reference_spec, "cpu"),
        structures,
        Reference.implemented_properties,
    )
    assert repeats.passed and equals.passed and equals.detail == "bit for bit", equals
    assert {*Reference.implemented_properties, "complex", "count"} <= noise.keys()
    assert not any(noise.values())


def test_an_error_of_a_structure_does_not_affect_the_next(probe_root):
    spec = prepare("probe-misbehaving", root=probe_root, device="cpu")
    raises, works = copper(1), copper(1)
    raises.info["do"] = "raise"
    direct = DirectCall(spec, "cpu")
    error, results = direct.evaluate([from_atoms(raises), from_atoms(works)], ["energy"])
    assert "RuntimeError: the model's own words" in str(error)
    assert results["energy"] == works.positions.sum()
    assert direct.provenance == {"model": spec.model, "build": spec.build, "device": "cpu"}
    direct.close()


# --- verify ---------------------------------------------------------------------------------------


def test_a_model_in_its_environment(probe_root, tmp_path):
    root = Root(probe_root, user_layer=tmp_path / "user_layer")
    with RootstockCalculator("probe-emt", root=root, device="cpu", threads=1) as calc:
        verification = verify(calc, [copper(1)])
    assert verification.passed, verification
    checks = by_name(verification)
    assert checks[DIRECT] is verification.checks[-1]
    assert checks["repeats itself"].passed
    assert latest(root, "probe", "emt") == [verification]
    assert verification.device == "cpu" and verification.host and verification.build
    assert set(verification.repeat_noise) >= {"energy", "forces", "stress"}
    assert not any(verification.repeat_noise.values())
    assert checks[DIRECT].detail == checks["repeats itself"].detail == "bit for bit"
    (health,) = [entry for entry in status(root) if entry.name == "probe"]
    assert f"verified on {verification.host} cpu" in health.detail


def test_a_model_string_is_enough(probe_root, tmp_path):
    root = Root(probe_root, user_layer=tmp_path / "user_layer")
    verification = rootstock.verify("probe-emt", [copper(1)], root=root, device="cpu", threads=1)
    assert verification.passed and verification.model == "probe-emt"
    assert latest(root, "probe", "emt") == [verification]


def test_structures_with_other_properties_are_checked_apart(probe_root):
    """A molecule without a cell has no stress."""
    water = molecule("H2O")
    water.rattle(0.05, seed=1)
    verification = verify("probe-emt", [copper(1), water], root=probe_root, device="cpu", threads=1)
    assert verification.passed, verification
    checks = by_name(verification)
    assert checks[f"{DIRECT} (Cu4)"].passed and checks[f"{DIRECT} (H2O)"].passed
    assert "stress" in verification.repeat_noise


def test_arguments_belong_to_a_model_string(make):
    with pytest.raises(ConfigurationError, match="threads"):
        verify(make("probe-emt"), threads=1)
    with pytest.raises(TypeError, match="thread"):
        verify("probe-emt", thread=1)


def test_the_public_fake_model_passes_on_the_samples(tmp_path):
    root = root_with_fake_build(tmp_path, "fake", fake_environment().read_text())
    verification = verify("fake-misbehaving", root=root, device="cpu")
    failed = {check.name.rpartition(" (")[0] for check in verification.checks if check.failed}
    # springs to one point: neither translations nor lattice vectors keep the energy
    assert failed == {
        "a translation keeps the energy",
        "a shift by a lattice vector keeps the energy",
    }
    assert by_name(verification)[DIRECT].detail == "bit for bit"


def test_a_model_that_returns_nan_fails(probe_root):
    atoms = copper(1)
    atoms.info["do"] = "nan"
    verification = verify("probe-misbehaving", [atoms], root=probe_root, device="cpu")
    assert not verification.passed
    assert by_name(verification)[DIRECT].failed


def test_a_model_that_does_not_start_is_an_error(probe_root):
    with pytest.raises(StartupError, match="the model's own words"):
        verify("probe-do-raise", root=probe_root, device="cpu")


def test_a_model_that_prints_a_lot_is_verified(probe_root, tmp_path, monkeypatch):
    """More than a pipe holds, on stderr, also in the direct call."""
    monkeypatch.setenv("PROBE_AT_IMPORT", "stderr")
    root = Root(probe_root, user_layer=tmp_path / "user_layer")
    with RootstockCalculator("probe-emt", root=root, device="cpu", threads=1) as calc:
        assert verify(calc, [copper(1)]).passed


def test_a_model_that_evaluates_no_sample_fails(tmp_path):
    text = PROBE.read_text().replace('atoms.info.get("do", "")', '"raise"')
    root = root_with_fake_build(tmp_path, "refuses", text)
    verification = verify("refuses-misbehaving", root=root, device="cpu")
    (check,) = verification.checks
    assert check.failed and check.name == "evaluates a sample structure"
    assert "the model's own words" in check.detail
    assert not verification.passed
    assert latest(root, "refuses", "misbehaving") == [verification]


def with_settings(settings):
    """Return the probe's file with a table [tool.rootstock]."""
    return PROBE.read_text().replace("# ///\n", f"# [tool.rootstock]\n# {settings}\n# ///\n", 1)


def test_an_unknown_setting_is_an_error(tmp_path):
    path = tmp_path / "typo_env.py"
    path.write_text(with_settings('element = "Cu"'))
    with pytest.warns(UserWarning, match="'element'"):
        calc = RootstockCalculator("emt", environment=path, root=tmp_path / "root")
    with pytest.raises(EnvironmentFileError, match=r"'element'.*'elements'"):
        verify(calc)
    assert not (tmp_path / "root" / "envs").exists()  # before anything is built


def test_the_elements_of_the_file_are_checked(tmp_path):
    root = root_with_fake_build(tmp_path, "claims", with_settings('elements = "Cu Na Xx"'))
    verification = verify("claims-emt", root=root, device="cpu", threads=1)
    check = by_name(verification)["works for Cu Na Xx"]
    assert check.failed
    assert "Na: " in check.detail and "Xx: there is no such element" in check.detail
    assert "Cu: " not in check.detail
    assert any(c.passed and c.name.endswith("(Cu2)") for c in verification.checks)
