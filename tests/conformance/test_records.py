"""Verifications on disk: those of this version and of earlier ones."""

from __future__ import annotations

import json

import pytest

from rootstock.conformance import Check, Verification, latest
from rootstock.conformance.records import write_verification
from rootstock.settings.root import Root

CHECKS = (
    Check("forces", "passed", "1e-9 eV/Å"),
    Check("stress", "not applicable", "not periodic"),
    Check("repeats", "failed"),
)


def record(**changes) -> Verification:
    values = {
        "model": "mace-medium",
        "build": "0123",
        "device": "cuda:0",
        "host": "node",
        "when": "2026-01-01T00:00:00+00:00",
        "checks": CHECKS,
        "repeat_noise": {"energy": 0.0, "forces": 1e-7},
    }
    return Verification(**{**values, **changes})


def test_a_record_is_read_back_unchanged(tmp_path):
    root = Root(tmp_path)
    write_verification(root, "mace", "medium", record())
    write_verification(root, "mace", "", record(model="mace"))
    assert latest(root, "mace", "medium") == [record()]
    assert latest(root, "mace", "") == [record(model="mace")]
    assert {v.model for v in latest(root, "mace")} == {"mace", "mace-medium"}
    assert latest(root, "chgnet") == []


def test_there_is_one_record_for_each_machine_and_device(tmp_path):
    root = Root(tmp_path)
    for host, device in (("a", "cpu"), ("a", "cuda"), ("b", "cpu"), ("a", "cpu")):
        write_verification(root, "mace", "", record(host=host, device=device))
    machines = sorted((v.host, v.device) for v in latest(root, "mace", ""))
    assert machines == [("a", "cpu"), ("a", "cuda"), ("b", "cpu")]


def test_fields_on_disk_stay_readable_for_earlier_versions(tmp_path):
    write_verification(Root(tmp_path), "mace", "medium", record())
    (path,) = (tmp_path / "records" / "verified" / "mace" / "medium").glob("*.json")
    data = json.loads(path.read_text())
    assert data["key"] == "0123" and "build" not in data
    assert [check["passed"] for check in data["checks"]] == [True, False, False]
    assert [check["outcome"] for check in data["checks"]] == ["passed", "not applicable", "failed"]


def test_records_of_earlier_versions_are_read(tmp_path):
    folder = tmp_path / "records" / "verified" / "mace" / "default"
    folder.mkdir(parents=True)
    data = {
        "model": "mace",
        "key": "4567",
        "device": "cpu",
        "host": "node",
        "when": "2025-01-01T00:00:00+00:00",
        "checks": [
            {"name": "forces", "passed": True, "detail": "to 1e-9 eV/Å"},
            {"name": "stress", "passed": False, "detail": ""},
        ],
    }
    (folder / "node-cpu.json").write_text(json.dumps(data))
    (verification,) = latest(Root(tmp_path), "mace")
    assert verification.build == "4567"
    assert [check.outcome for check in verification.checks] == ["passed", "failed"]
    assert verification.repeat_noise == {} and not verification.passed


@pytest.mark.parametrize("text", ["", "[]", '"text"', "{}", '{"checks": 3}', '{"checks": []}'])
def test_files_without_a_valid_record_are_left_out(tmp_path, text):
    folder = tmp_path / "records" / "verified" / "mace" / "default"
    folder.mkdir(parents=True)
    (folder / "node-cpu.json").write_text(text)
    assert latest(Root(tmp_path), "mace") == []


def test_the_user_layer_comes_first(tmp_path):
    shared, root = Root(tmp_path / "shared"), Root(tmp_path / "shared", tmp_path / "user")
    write_verification(shared, "mace", "", record(build="old"))
    write_verification(root, "mace", "", record(build="new"))
    assert [v.build for v in latest(root, "mace", "")] == ["new"]
    assert [v.build for v in latest(shared, "mace", "")] == ["old"]


def test_other_options_have_records_of_their_own(tmp_path):
    root = Root(tmp_path)
    with_options = record(options='{"head":"omat"}')
    write_verification(root, "mace", "medium", record())
    write_verification(root, "mace", "medium", with_options)
    assert sorted(v.options for v in latest(root, "mace", "medium")) == ['{"head":"omat"}', "{}"]
