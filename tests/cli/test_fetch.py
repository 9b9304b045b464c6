"""rootstock fetch."""

from __future__ import annotations

import pytest

from rootstock import ConfigurationError, fetch
from rootstock.testing import fake_environment
from tests.support.command_line import run


def test_an_environment_file_needs_a_root():
    with pytest.raises(ConfigurationError, match=r"give root=\.\.\. beside environment="):
        fetch("null", environment=fake_environment())
    result = run("fetch", "null", "--environment", fake_environment())
    assert result.exit_code == 2
    assert "give root=... beside environment=..." in result.stderr
