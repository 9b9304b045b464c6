"""Exit codes and messages of errors."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.command_line import run


@pytest.mark.parametrize(
    ("model", "file", "code", "message"),
    [
        ("prob-null", None, 2, "did you mean 'probe'"),
        ("probe-null", "/no/such/file.xyz", 2, "there is no file"),
        ("probe-null", __file__, 2, "ASE can't read"),
        ("probe-do-raise", None, 6, "the model's own words"),
        ("probe-do-exit-3", None, 6, "exit code 3"),
    ],
)
def test_errors_have_a_message_and_an_exit_code(probe_root, structure, model, file, code, message):
    result = run("run", model, file or structure, "--root", probe_root)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr  # --traceback shows the model's own
    assert not result.stdout


def test_a_root_and_a_cluster_exclude_each_other(probe_root):
    result = run("list", "--root", probe_root, "--cluster", "della")
    assert result.exit_code == 2
    assert "keep one" in result.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has /dev/full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_output_on_a_full_disk(probe_root, options):
    command = [sys.executable, "-m", "rootstock", "list", "--root", probe_root, *options]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr.startswith("error: the output can't be written: the disk is full")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gc", "--days", "-1"], "days=-1 must be zero or more"),
        (["gc", "--days", "nan"], "days=nan must be zero or more"),
        (["pack", "probe", "-o", "e.zip"], "e.zip would be a tar archive"),
        (
            ["serve", "probe-null", "--structure", "{structure}", "--port", "1", "--wait", "-1"],
            "wait=-1 must be a number of seconds",
        ),
    ],
)
def test_invalid_values(probe_root, structure, words, message):
    result = run(*(word.format(structure=structure) for word in words), "--root", probe_root)
    assert result.exit_code == 2, result.output
    assert message in result.stderr


def test_the_history_of_an_environment_that_was_never_built(probe_root):
    result = run("history", "lj", "--root", probe_root)
    assert result.exit_code == 0
    assert "lj was never built here: rootstock install lj" in result.stdout
