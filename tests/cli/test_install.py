"""rootstock install."""

from __future__ import annotations

import json

from tests.support.command_line import run


def test_install_is_quick_the_second_time_and_refuses_unknown_names(probe_root):
    for _ in range(2):
        done = run("install", "probe", "--root", probe_root, "--json")
        assert done.exit_code == 0, done.output
        assert list(json.loads(done.stdout)["environments"]) == ["probe"]
    done = run("install", "probe", "nonsense", "--root", probe_root)
    assert done.exit_code == 2
    assert "unknown model 'nonsense'" in done.stderr
