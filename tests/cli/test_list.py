"""rootstock list."""

from __future__ import annotations

import json

from tests.support.command_line import run


def test_list_tells_where_each_comes_from_and_which_is_broken(probe_root):
    broken = probe_root / "environments" / "broken_env.py"
    broken.write_text("def setup(:")
    try:
        done = run("list", "--root", probe_root, "--json")
        table = run("list", "--root", probe_root)
    finally:
        broken.unlink()
    assert done.exit_code == table.exit_code == 0
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["environments"]}
    assert found["probe"]["origin"] == "root"
    assert "probe-reference" in found["probe"]["models"]
    assert found["chgnet"]["models"]["chgnet-r2scan"] == "r2SCAN"
    assert "no '# /// script' block" in found["broken"]["problem"]
    assert "broken" in table.stdout
