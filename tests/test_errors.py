"""The error classes."""

from __future__ import annotations

import re

import pytest

from rootstock import errors

ERRORS = [name for name in errors.__all__ if name.endswith("Error")]


@pytest.mark.parametrize("name", [name for name in ERRORS if name != "RemoteTracebackError"])
def test_errors_have_a_common_base_and_stand_in_the_tree(name):
    assert issubclass(getattr(errors, name), errors.RootstockError)
    (tree,) = [part for part in errors.__doc__.split("\n\n") if part.strip().startswith("Rootst")]
    assert name in re.findall(r"\w+Error", tree)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_have_a_docstring(name):
    assert "__doc__" in vars(getattr(errors, name))
    assert vars(getattr(errors, name))["__doc__"]
