from __future__ import annotations

import pytest


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The path of the user's config file, which does not exist yet."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("ROOTSTOCK_CONFIG", str(path))
    return path
