from __future__ import annotations

import pytest

from tests.support.structures import copper


@pytest.fixture
def structure(tmp_path):
    """The path of a file with four atoms."""
    path = tmp_path / "copper.xyz"
    copper(1, rattle=0.1).write(path)
    return path
