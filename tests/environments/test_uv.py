"""uv: where it is found, and its flags."""

from __future__ import annotations

import os

import pytest
import uv

from rootstock import BuildError
from rootstock.environments.options import BuildOptions
from rootstock.environments.uv import Uv, uv_flags
from rootstock.support.progress import Progress


def missing():
    raise FileNotFoundError


def test_the_uv_on_path_is_used_where_none_was_installed_with_rootstock(tmp_path, monkeypatch):
    binary = tmp_path / "uv"
    binary.write_text("#!/bin/sh\necho uv 9.8.7\n")
    binary.chmod(0o755)
    monkeypatch.setattr(uv, "find_uv_bin", missing)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    assert "9.8.7" in Uv(Progress()).version()


def test_without_any_uv_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(uv, "find_uv_bin", missing)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"uv is not installed.*pip install uv"):
        Uv(Progress()).version()


def test_flags_hold_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    options = BuildOptions(offline=True, find_links=("wheels", "~/more"))
    assert uv_flags(options) == [
        *("--offline", "--find-links", f"{tmp_path}/wheels"),
        *("--find-links", "/home/me/more"),
    ]
    assert uv_flags(BuildOptions(force=True, python="3.12")) == []
