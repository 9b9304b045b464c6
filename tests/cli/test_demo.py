"""rootstock demo."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import run


@pytest.mark.model
def test_the_demo(session_root):
    done = run("demo", "--model", "snap", "--root", session_root)
    assert done.exit_code == 0, done.output
    assert "Cu125" in done.stdout
    assert "next call" in done.stdout
    found = json.loads(run("demo", "--model", "snap", "--root", session_root, "--json").stdout)
    assert found["first"]["results"]["energy"] == pytest.approx(-512.126, abs=1e-3)
