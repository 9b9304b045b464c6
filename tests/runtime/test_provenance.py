"""The provenance of results: JSON, complete, and free of secrets."""

from __future__ import annotations

import hashlib
import json

import pytest
from ase.build import bulk

from rootstock import RootstockCalculator
from rootstock.errors import WorkerDiedError
from tests.support.paths import PROBE


def test_provenance_is_json(reference):
    provenance = json.loads(json.dumps(reference.provenance.as_dict()))
    assert provenance["model"] == "probe-reference"
    assert provenance["packages"]["ase"]
    assert len(provenance["build"]) == 16


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
