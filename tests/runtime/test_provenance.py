"""The provenance of results: JSON, complete, and free of secrets."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace

import pytest
from ase.build import bulk

import rootstock
from rootstock import RootstockCalculator
from rootstock.errors import WorkerDiedError
from rootstock.runtime.provenance import describe
from tests.support.paths import PROBE


def test_provenance_is_json(reference):
    provenance = json.loads(json.dumps(reference.provenance.as_dict()))
    assert provenance["model"] == "probe-reference"
    assert provenance["packages"]["ase"]
    assert len(provenance["build"]) == 16


def test_every_field(make):
    options = {"head": "omat", "numbers": [1, 2.5]}
    calc = make("probe-options", setup_kwargs=options, threads=2)
    report = calc.report
    values = calc.provenance.as_dict()
    assert values.pop("rootstock") == rootstock.__version__
    assert values.pop("build") == calc.spec.build
    assert re.fullmatch("[0-9a-f]{64}", values.pop("identity"))
    assert re.fullmatch("[0-9a-f]{64}", values.pop("lock"))
    packages = values.pop("packages")
    assert {"ase", "numpy"} <= packages.keys() and "torch" not in packages
    assert (
        re.fullmatch(r"3\.\d+\.\d+\S*", values["python"]) and values.pop("python") == report.python
    )
    assert values == {
        "model": "probe-options",
        "environment": "probe",
        "calculator": "_rootstock_environment.Null",
        "device": "cpu",
        "gpu": "",
        "precision": {},
        "threads": 2,
        "weights": {},
        "settings": options,
        "evaluation": "single",
        "atom_budget": None,
        "batch_deviation": {},
    }


def test_fields_of_a_gpu_and_of_pytorch_come_from_the_report(make):
    calc = make()
    precision = {"default_dtype": "float32", "cudnn.allow_tf32": "True"}
    report = replace(calc.report, device="cuda", gpu="NVIDIA H200", precision=precision)
    provenance = describe(calc.spec, report)
    assert (provenance.device, provenance.gpu) == ("cuda", "NVIDIA H200")
    assert provenance.precision == precision
    assert provenance.threads is None


def test_tokens_appear_nowhere(make, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("WANDB_API_KEY", "wandb_secret")
    calc = make("probe-misbehaving")
    atoms = bulk("Cu")
    calc.get_potential_energy(atoms)
    atoms.info["do"] = "exit-3"
    with pytest.raises(WorkerDiedError) as error:
        calc.get_potential_energy(atoms)
    shown = [
        str(error.value),
        repr(calc),
        json.dumps(calc.provenance.as_dict()),
        json.dumps(calc.todict()),
    ]
    assert not any("secret" in text for text in [*shown, calc.log, repr(calc.report)])


@pytest.mark.model
def test_own_weights_are_in_the_provenance(user_layer, tmp_path):
    weights = tmp_path / "own.pt"
    weights.write_bytes(b"own")
    file = user_layer.writable.environments / "file_env.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = PROBE.read_text().replace('if model == "null"', 'if model.endswith(".pt")')
    file.write_text(text)
    with RootstockCalculator(f"file-{weights}", root=user_layer, device="cpu") as calc:
        digest = hashlib.sha256(b"own").hexdigest()
        assert calc.provenance.weights == {str(weights): digest}
