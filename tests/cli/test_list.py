"""rootstock list."""

from __future__ import annotations

import json

from tests.support.command_line import run


def test_list_shows_origins_and_broken_files(probe_root):
    broken = probe_root / "environments" / "broken_env.py"
    broken.write_text("def setup(:")
    try:
        result = run("list", "--root", probe_root, "--json")
        table = run("list", "--root", probe_root)
    finally:
        broken.unlink()
    assert result.exit_code == table.exit_code == 0
    entries = {entry["name"]: entry for entry in json.loads(result.stdout)["environments"]}
    assert entries["probe"]["origin"] == "root"
    assert "probe-reference" in entries["probe"]["models"]
    assert entries["chgnet"]["models"]["chgnet-r2scan"] == "r2SCAN"
    assert "no '# /// script' block" in entries["broken"]["problem"]
    assert "broken" in table.stdout
