"""rootstock install."""

from __future__ import annotations

import json

from tests.support.command_line import run


def test_install_is_quick_the_second_time_and_refuses_unknown_names(probe_root):
    for _ in range(2):
        result = run("install", "probe", "--root", probe_root, "--json")
        assert result.exit_code == 0, result.output
        assert list(json.loads(result.stdout)["environments"]) == ["probe"]
    result = run("install", "probe", "nonsense", "--root", probe_root)
    assert result.exit_code == 2
    assert "there is no environment 'nonsense'" in result.stderr
