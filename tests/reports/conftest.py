"""Fixtures: open fonts."""

from __future__ import annotations

import pytest

from tests.support.fonts import open_fonts


@pytest.fixture(scope="session", autouse=True)
def _fonts():
    open_fonts()
