"""Exit codes and messages of errors."""

from __future__ import annotations

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
