"""The error classes."""

from __future__ import annotations

import re

import pytest

from rootstock import errors

ERRORS = [name for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("name", [name for name in ERRORS if name != "RemoteTracebackError"])
def test_errors_have_a_common_base(name):
    assert issubclass(getattr(errors, name), errors.RootstockError)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_documented(name):
    assert vars(getattr(errors, name))["__doc__"]
    tree = errors.__doc__.partition("::")[2].partition("Names in brackets")[0]
    assert name in re.findall(r"\w+Error", tree)
