from __future__ import annotations

import pytest

from rootstock import find_root
from rootstock.maintenance.initialise import initialise_root


@pytest.fixture
def root(tmp_path):
    """An empty root."""
    return initialise_root(find_root(tmp_path / "a root's folder"))
