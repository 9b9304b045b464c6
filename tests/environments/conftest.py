from __future__ import annotations

import pytest

from rootstock import find_root


@pytest.fixture
def root(tmp_path):
    """A root whose folders do not exist yet: a build makes them."""
    return find_root(tmp_path / "a root's folder, with spaces")
