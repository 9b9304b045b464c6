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
