"""Which root is used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rootstock import ConfigurationError, RootstockCalculator, find_root


def test_the_order_in_which_a_root_is_looked_for(config, tmp_path, monkeypatch):
    config.write_text("")
    assert find_root().path == Path(os.environ["XDG_DATA_HOME"]) / "rootstock"
    config.write_text("cluster = 'here'\n[clusters]\nhere = '/from/cluster'\ndella = '/my/della'")
    assert find_root().path == Path("/from/cluster")
    config.write_text(
        "root = '/from/config'\n[clusters]\nhere = '/from/cluster'\ndella = '/my/della'"
    )
    assert find_root().path == Path("/from/config")
    monkeypatch.setenv("ROOTSTOCK_ROOT", "/from/variable")
    assert find_root().path == Path("/from/variable")
    assert find_root(cluster="here").path == Path("/from/cluster")
    assert find_root("/given").path == Path("/given")
    assert find_root(cluster="della").path == Path("/my/della")
    monkeypatch.chdir(tmp_path)
    assert find_root("relative").path == tmp_path / "relative"


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "nul\0"])
def test_invalid_paths(path):
    with pytest.raises(ConfigurationError, match="not a valid path"):
        find_root(path)
    with pytest.raises(ConfigurationError, match="not a valid path"):
        RootstockCalculator(environment=path)
