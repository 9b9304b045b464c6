"""rootstock verify."""

from __future__ import annotations

import json

from tests.support.command_line import run


def test_the_command(probe_root):
    arguments = ["--root", probe_root, "--device", "cpu", "--json"]
    done = run("verify", "probe-emt", *arguments)
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)["verifications"]
    assert found["model"] == "probe-emt"
    done = run("verify", "probe-misbehaving", *arguments)  # wrong forces
    assert done.exit_code == 9
    assert json.loads(done.stdout)["passed"] is False
