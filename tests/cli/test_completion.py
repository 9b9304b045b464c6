"""The shell's completion of names and model strings."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from rootstock.cli import app
from tests.support.environment_files import write_environment_file


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A root with a file that is broken and one that is not."""
    folder = tmp_path / "environments"
    models = 'MODELS = {"": "one", "zwei": "two"}'
    write_environment_file(folder, "zzz-own", body=models)
    (folder / "zzz-broken_env.py").write_text("def setup(:")
    monkeypatch.setenv("ROOTSTOCK_ROOT", str(tmp_path))
    return tmp_path


def complete(*words) -> list[str]:
    """Return what Bash offers for the last of these words."""
    variables = {
        "_ROOTSTOCK_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["rootstock", *words]),
        "COMP_CWORD": str(len(words)),
    }
    result = CliRunner().invoke(app, [], prog_name="rootstock", env=variables)
    assert result.exit_code == 0, result.output
    assert not result.stderr
    return result.stdout.split()


@pytest.mark.parametrize(
    "command", ["install", "show", "list", "history", "rollback", "lock", "pack", "uninstall"]
)
def test_names_of_environments(command):
    assert complete(command, "zzz") == ["zzz-broken", "zzz-own"]
    assert complete(command, "chgn") == ["chgnet"]


@pytest.mark.parametrize("command", ["run", "fetch", "verify"])
def test_model_strings(command):
    assert complete(command, "zzz") == ["zzz-own", "zzz-own-zwei"]
    assert "chgnet-r2scan" in complete(command, "chgnet")


def test_a_broken_config_file_completes_nothing(root, monkeypatch):
    monkeypatch.delenv("ROOTSTOCK_ROOT")
    (root / "config.toml").write_text("root = ")
    monkeypatch.setenv("ROOTSTOCK_CONFIG", str(root / "config.toml"))
    assert complete("show", "chgn") == []
