"""The command line in this process."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from rootstock.cli import app


def run(*arguments):
    """Run a command; return its exit code, stdout and stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def as_json(*arguments):
    """Run a command that must succeed; return its JSON output."""
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
