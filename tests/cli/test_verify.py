"""rootstock verify."""

from __future__ import annotations

import json

from tests.support.command_line import run


def test_the_command(probe_root):
    arguments = ["--root", probe_root, "--device", "cpu", "--json"]
    result = run("verify", "probe-emt", *arguments)
    assert result.exit_code == 0, result.output
    (verification,) = json.loads(result.stdout)["verifications"]
    assert verification["model"] == "probe-emt"
    assert {check["outcome"] for check in verification["checks"]} <= {"passed", "not applicable"}
    result = run("verify", "probe-misbehaving", *arguments)  # wrong forces
    assert result.exit_code == 9
    assert json.loads(result.stdout)["passed"] is False


def test_one_of_several_models_that_does_not_start_is_a_failed_check(probe_root):
    arguments = ["--root", probe_root, "--device", "cpu", "--json"]
    result = run("verify", "probe-emt", "probe-do-raise", *arguments)
    assert result.exit_code == 9
    first, second = json.loads(result.stdout)["verifications"]
    assert first["model"] == "probe-emt" and len(first["checks"]) > 1
    (check,) = second["checks"]
    assert (check["name"], check["outcome"]) == ("starts", "failed")
    assert "the model's own words" in check["detail"]


def test_an_unknown_name_ends_the_command_before_a_start(probe_root):
    result = run("verify", "probe-emt", "nonsense", "--root", probe_root, "--device", "cpu")
    assert result.exit_code == 2
    assert not result.stdout
