"""Fetching weights: recorded, checked, and used offline."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase.build import bulk

from rootstock import RootstockCalculator
from rootstock.environments.weights import check, find_record
from rootstock.errors import SetupError, WeightsError
from rootstock.maintenance.fetch import fetch
from rootstock.maintenance.status import status

pytestmark = pytest.mark.model


def test_fetched_weights_are_recorded_checked_and_offline(user_layer):
    record = fetch("probe-downloads", root=user_layer)
    (file,) = record.files
    assert file.path == "cache/probe/weights.bin" and file.size == 1000
    assert not list(Path(user_layer.path).glob("records/weights/probe/downloads.json"))
    path = user_layer.user_layer / file.path
    with RootstockCalculator("probe-downloads", root=user_layer, device="cpu") as calc:
        assert dict(calc.provenance.weights) == {file.path: file.sha256}
        assert calc.spec.offline
    with RootstockCalculator("probe-world", root=user_layer, device="cpu") as calc:
        assert not calc.spec.offline
    layer, stored = find_record(user_layer, "probe", "downloads")
    assert check(layer, stored, deep=True) == []
    path.write_bytes(b"v" * 1000)
    assert check(layer, stored) == []
    assert "does not match the recorded SHA-256" in check(layer, stored, deep=True)[0]
    assert [h.state for h in status(user_layer, deep=True) if h.name == "probe-downloads"] == [
        "damaged"
    ]
    path.write_bytes(b"short")
    with pytest.raises(
        WeightsError, match=r"5 bytes instead of the recorded 1000.*rootstock fetch probe-dow"
    ):
        RootstockCalculator("probe-downloads", root=user_layer)
    path.unlink()
    with pytest.raises(WeightsError, match=r"weights\.bin is missing"):
        RootstockCalculator("probe-downloads", root=user_layer)
    (health,) = [h for h in status(user_layer) if h.name == "probe-downloads"]
    assert (health.state, health.fix) == ("damaged", "rootstock fetch probe-downloads")
    fetch("probe-downloads", root=user_layer)  # repairs it
    RootstockCalculator("probe-downloads", root=user_layer).close()


def test_weights_in_the_cache_are_recorded_too(user_layer):
    first = fetch("probe-downloads", root=user_layer)
    assert fetch("probe-downloads", root=user_layer).files == first.files


def test_offline_variables(user_layer):
    fetch("probe-world", root=user_layer)
    with RootstockCalculator("probe-world", root=user_layer, device="cpu") as calc:
        calc.calculate(bulk("Cu"), ["energy"])
        environ = calc.results["environ"]
    assert environ["HF_HUB_OFFLINE"] == "1" and environ["TRANSFORMERS_OFFLINE"] == "1"
    assert environ["HOME"].startswith(str(user_layer.user_layer))


def test_a_model_that_could_not_download_names_the_command(user_layer, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    calc = RootstockCalculator("probe-downloads", root=user_layer, device="cpu")
    with pytest.raises(SetupError, match="run 'rootstock fetch probe-downloads'"):
        calc.report
