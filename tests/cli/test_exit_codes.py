"""Exit codes and messages of errors."""

from __future__ import annotations

import pytest

from tests.support.command_line import run


@pytest.mark.parametrize(
    ("model", "file", "code", "words"),
    [
        ("prob-null", None, 2, "did you mean 'probe'"),
        ("probe-null", "/no/such/file.xyz", 2, "there is no file"),
        ("probe-null", __file__, 2, "ASE can't read"),
        ("probe-do-raise", None, 6, "the model's own words"),
        ("probe-do-exit-3", None, 6, "exit code 3"),
    ],
)
def test_errors_have_words_and_exit_codes(probe_root, structure, model, file, code, words):
    done = run("run", model, file or structure, "--root", probe_root)
    assert done.exit_code == code, done.output
    assert words in done.stderr
    assert "Traceback" not in done.stderr or model == "probe-do-raise"  # the model's, then
    assert not done.stdout


def test_a_root_and_a_cluster_are_too_much(probe_root):
    done = run("list", "--root", probe_root, "--cluster", "della")
    assert done.exit_code == 2
    assert "keep one" in done.stderr
