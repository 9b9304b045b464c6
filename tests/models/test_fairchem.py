"""The precision of FAIRChem's models: explicit, full by default, and in the provenance.

The package and its weights are gated; a fake module stands for it here. The names of its settings
are those of fairchem-core 2.24.0, which the environment file pins.
"""

from __future__ import annotations

import sys
import types

import pytest
from ase.calculators.emt import EMT

from rootstock import find_root
from rootstock.environments.discovery import find_environment
from rootstock.protocol.data import WorkerReport
from rootstock.runtime.arguments import make_spec
from rootstock.runtime.provenance import describe, identify
from rootstock.worker.model import EnvironmentModel
from tests.support.fake_builds import add_fake_build

#: Without TF32, by fairchem-core 2.24.0's own table.
FULL_PRECISION = {"high-precision", "batch", "traineval"}


@pytest.fixture
def calls(monkeypatch):
    """Put a fake package in place; return the arguments that it is called with."""
    calls = []

    class FAIRChemCalculator(EMT):
        @classmethod
        def from_model_checkpoint(cls, name_or_path, **options):
            calls.append((name_or_path, options))
            return cls()

    package, core = types.ModuleType("fairchem"), types.ModuleType("fairchem.core")
    package.core, core.FAIRChemCalculator = core, FAIRChemCalculator
    monkeypatch.setitem(sys.modules, "fairchem", package)
    monkeypatch.setitem(sys.modules, "_rootstock_environment", package)  # removed at the end
    monkeypatch.setitem(sys.modules, "fairchem.core", core)
    return calls


@pytest.fixture
def environment(tmp_path):
    return find_environment("fairchem", find_root(tmp_path))


def load(environment, model="uma-s-1p2", device="cpu", **options):
    """Load the file as a worker does; return its report."""
    config = {
        "file": str(environment.file.path),
        "digest": environment.file.digest,
        "record_opened_in": [],
        "argument": model,
        "device": device,
        "options": options,
        "threads": None,
        "packages": [],
    }
    return EnvironmentModel().load(config)


def test_the_default_is_full_precision(environment, calls):
    report = load(environment, task_name="omat")
    ((model, options),) = calls
    assert model == "uma-s-1p2"
    assert options["inference_settings"] == "high-precision"
    assert options["inference_settings"] in FULL_PRECISION
    assert report["settings"]["inference_settings"] == "high-precision"


@pytest.mark.parametrize("setting", ["default", "nitro", "multigpu", "batch", "traineval"])
def test_a_setting_is_passed_on_and_reported(environment, calls, setting):
    report = load(environment, task_name="omat", inference_settings=setting)
    assert calls[0][1]["inference_settings"] == setting
    assert report["settings"] == {"task_name": "omat", "inference_settings": setting}


@pytest.mark.parametrize("setting", ["high_precision", "turbo", "", None, "tf32"])
def test_an_unknown_setting_is_an_error_before_weights_are_loaded(environment, calls, setting):
    with pytest.raises(ValueError, match=r"one of high-precision, .*batch.*, not") as caught:
        load(environment, task_name="omat", inference_settings=setting)
    assert repr(setting) in str(caught.value)
    assert calls == []


def test_uma_needs_a_task_and_esen_does_not(environment, calls):
    with pytest.raises(ValueError, match="UMA needs a task"):
        load(environment)
    assert calls == []
    load(environment, "esen-sm-direct-all-omol")
    assert calls[0][1]["task_name"] is None


def test_the_package_gets_a_kind_of_device(environment, calls):
    load(environment, "esen-sm-direct-all-omol", device="cuda:1")
    assert calls[0][1]["device"] == "cuda"


def test_it_is_in_the_provenance_and_in_the_identity(environment, calls):
    add_fake_build(environment, "build", lock="lock", current=True)
    specs = [
        make_spec(
            "fairchem-uma-s-1p2",
            root=environment.root,
            setup_kwargs={"task_name": "omat", "inference_settings": setting},
        )
        for setting in ("high-precision", "nitro")
    ]
    assert identify(specs[0]).digest != identify(specs[1]).digest
    settings = [
        describe(spec, WorkerReport(**load(environment, **spec.setup_options))).settings
        for spec in specs
    ]
    assert [s["inference_settings"] for s in settings] == ["high-precision", "nitro"]


def test_the_docstring_names_the_settings(environment):
    text = environment.file.path.read_text()
    for word in ('"high-precision"', '"nitro"', '"multigpu"', '"batch"', "TF32", "float32"):
        assert word in text.split('"""')[1]
