"""What callers of the class see: its keywords, and ASE's list of properties."""

from __future__ import annotations

import inspect

import pytest
from ase.calculators.calculator import all_properties
from ase.calculators.emt import EMT

from rootstock import ConfigurationError, RootstockCalculator
from rootstock.errors import UnknownArgumentError, UnknownNameError
from tests.support.structures import copper

# --- checkpoint, a synonym of model ---------------------------------------------------------------


def test_checkpoint_is_a_synonym_of_model(make, probe_root):
    calc = RootstockCalculator(checkpoint="probe-null", root=probe_root, device="cpu")
    assert calc.spec == make("probe-null").spec
    assert calc.parameters == make("probe-null").parameters
    with calc:
        assert calc.get_potential_energy(copper()) == 0.0


@pytest.mark.parametrize("model", ["probe-null", "probe-reference"])
def test_model_and_checkpoint_together_are_refused(probe_root, model):
    message = f"model='{model}' and checkpoint='probe-null' are synonyms: give one"
    with pytest.raises(ConfigurationError, match=message):
        RootstockCalculator(model, checkpoint="probe-null", root=probe_root)


def test_checkpoint_goes_with_an_environment_file(probe_root):
    file = probe_root / "environments" / "probe_env.py"
    calc = RootstockCalculator(checkpoint="null", environment=file, root=probe_root)
    assert calc.spec.argument == "null"


# --- misspelt keywords ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("modle", "model"),
        ("checkpiont", "checkpoint"),
        ("setup_kwarg", "setup_kwargs"),
        ("thread", "threads"),
        ("progess", "progress"),
        ("start_up_timeout", "startup_timeout"),
        ("Device", "device"),
    ],
)
def test_a_misspelt_keyword_is_a_type_error_with_a_suggestion(probe_root, name, suggestion):
    with pytest.raises(TypeError) as caught:
        RootstockCalculator("probe-null", root=probe_root, **{name: None})
    error = caught.value
    for kind in (UnknownArgumentError, UnknownNameError, ConfigurationError, ValueError):
        assert isinstance(error, kind)
    assert error.name == name
    assert suggestion in error.suggestions
    assert f"RootstockCalculator has no argument '{name}'; did you mean" in str(error)


def test_an_option_of_the_models_setup_is_told_where_to_go(probe_root):
    with pytest.raises(TypeError, match=r"setup_kwargs=\{'default_dtype': \.\.\.\}"):
        RootstockCalculator("probe-null", root=probe_root, default_dtype="float64")


def test_the_keyword_is_refused_before_anything_else_is_looked_at(tmp_path):
    with pytest.raises(UnknownArgumentError):
        RootstockCalculator("no-such-model", root=tmp_path, dvice="cpu")


def test_the_signature_lists_every_keyword():
    parameters = inspect.signature(RootstockCalculator).parameters
    assert next(iter(parameters)) == "model"
    assert {"checkpoint", "root", "cluster", "device", "setup_kwargs", "progress"} <= set(
        parameters
    )
    assert parameters["device"].default == "auto"
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    documented = RootstockCalculator.__doc__
    assert all(name in documented for name in parameters)


# --- implemented_properties -----------------------------------------------------------------------


def test_on_the_class_it_is_ases_list():
    """ASE code, such as ase.calculators.mixing, unpacks the list of a class."""
    properties = RootstockCalculator.implemented_properties
    assert isinstance(properties, list)
    assert [*RootstockCalculator.implemented_properties, "more"] == [*all_properties, "more"]
    assert set(EMT.implemented_properties) <= set(properties)


def test_the_classs_list_can_not_be_changed_by_accident():
    RootstockCalculator.implemented_properties.append("more")
    assert "more" not in RootstockCalculator.implemented_properties
    assert "more" not in all_properties


def test_on_a_subclass_it_can_be_replaced():
    class Fixed(RootstockCalculator):
        implemented_properties = [*RootstockCalculator.implemented_properties, "more"]

    assert Fixed.implemented_properties[-1] == "more"


def test_on_an_instance_it_is_the_models_own(make):
    assert make("probe-null").implemented_properties == ["energy", "forces", "stress"]
    assert "charges" in make("probe-reference").implemented_properties
    assert make("probe-committee").implemented_properties[-1] == "forces_comm"


def test_an_instances_list_is_a_copy(make):
    calc = make("probe-null")
    calc.implemented_properties.append("charges")
    assert "charges" not in calc.implemented_properties
