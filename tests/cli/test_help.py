"""Help texts and the version."""

from __future__ import annotations

from tests.support.command_line import run


def test_help_and_version():
    assert "rootstock 0" in run("--version").output
    for command in ("demo", "run", "install", "list", "serve"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert "--root" in result.output
