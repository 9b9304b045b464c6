"""rootstock demo."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import run


@pytest.mark.model
def test_the_demo(session_root):
    result = run("demo", "--model", "snap", "--root", session_root)
    assert result.exit_code == 0, result.output
    assert "Cu125" in result.stdout
    assert "next call" in result.stdout
    shown = json.loads(run("demo", "--model", "snap", "--root", session_root, "--json").stdout)
    assert shown["first"]["results"]["energy"] == pytest.approx(-512.126, abs=1e-3)
