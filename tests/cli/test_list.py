"""rootstock list."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import run
from tests.support.environment_files import write_environment_file


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


def test_the_models_of_one_environment(tmp_path):
    result = run("list", "chgnet", "--root", tmp_path, "--json")
    table = run("list", "chgnet", "--root", tmp_path)
    assert result.exit_code == table.exit_code == 0
    entry = json.loads(result.stdout)["environment"]
    assert entry["name"] == "chgnet" and entry["origin"] == "catalogue"
    assert entry["state"] == "not built"
    assert entry["models"]["chgnet-r2scan"] == "r2SCAN"
    assert "chgnet-r2scan" in entry["licences"]
    for word in ("model string", "chgnet-r2scan", "r2SCAN", "licence of the weights"):
        assert word in table.stdout
    assert "mace" not in table.stdout


def test_a_broken_environment_shows_its_problem(tmp_path):
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "broken_env.py").write_text("def setup(:")
    result = run("list", "broken", "--root", tmp_path)
    assert result.exit_code == 0
    assert "no '# /// script' block" in result.stdout


def test_an_unknown_name_has_suggestions(tmp_path):
    result = run("list", "chgnett", "--root", tmp_path)
    assert result.exit_code == 2
    assert (
        "there is no environment 'chgnett'" in result.stderr
        and "did you mean 'chgnet'" in result.stderr
    )
    assert not result.stdout


def test_sizes(tmp_path):
    weights = tmp_path / "cache" / "own" / "nested" / "weights.bin"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"w" * 3 * 2**20)
    result = run("list", "--sizes", "--root", tmp_path, "--json")
    assert json.loads(result.stdout)["sizes"] == {"cache/own": 3 * 2**20}
    assert "cache/own: 3 MiB" in run("list", "--sizes", "--root", tmp_path).stdout
    assert json.loads(run("list", "--root", tmp_path, "--json").stdout)["sizes"] == {}


def test_a_model_string_is_no_environment(tmp_path):
    result = run("list", "mace-medium", "--root", tmp_path)
    assert result.exit_code == 2
    assert "'mace-medium' is a model of the environment 'mace': give 'mace' here" in result.stderr


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_file_without_models_and_with_markup(tmp_path):
    text = '"""A [bold]fine[/bold] model."""\n'
    extra = '[tool.rootstock]\nlicence = "MIT"\nlicens = "MIT"'
    write_environment_file(tmp_path / "environments", name="mine", extra=extra, body=text)
    result = run("list", "mine", "--root", tmp_path)
    assert result.exit_code == 0
    assert "licence of the weights: MIT" in result.stdout
    assert "unknown key 'licens'" in result.stderr
    entry = json.loads(run("list", "mine", "--root", tmp_path, "--json").stdout)["environment"]
    assert list(entry["models"]) == ["mine"]
