"""The error classes."""

from __future__ import annotations

import sys

import pytest

import rootstock


@pytest.mark.parametrize("name", [n for n in rootstock.__all__ if n.endswith("Error")])
def test_errors_have_a_common_base_and_are_documented(name):
    error = getattr(rootstock, name)
    assert issubclass(error, rootstock.RootstockError)
    assert error.__doc__
    assert name in sys.modules["rootstock.errors"].__doc__
