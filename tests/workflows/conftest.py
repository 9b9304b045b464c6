"""A root with a model whose constants are its argument."""

from __future__ import annotations

import pytest

from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS


@pytest.fixture
def root(tmp_path):
    """A root with the model."""
    text = (TESTS / "support" / "compared_env.py").read_text()
    return root_with_fake_build(tmp_path, "compared", text)
