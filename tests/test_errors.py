"""The error classes."""

from __future__ import annotations

import copy
import copyreg
import pickle
import re
from functools import partial

import pytest

from rootstock import errors

ERRORS = [name for name in errors.__all__ if name.endswith("Error")]


def pickled(value, protocol=pickle.HIGHEST_PROTOCOL):
    return pickle.loads(pickle.dumps(value, protocol))


@pytest.mark.parametrize("name", [name for name in ERRORS if name != "RemoteTracebackError"])
def test_errors_have_a_common_base(name):
    assert issubclass(getattr(errors, name), errors.RootstockError)


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_documented(name):
    assert vars(getattr(errors, name))["__doc__"]
    tree = errors.__doc__.partition("::")[2].partition("Names in brackets")[0]
    assert name in re.findall(r"\w+Error", tree)


def example(name):
    """Return an error of a class, with a value for each of its attributes."""
    kind = getattr(errors, name)
    error = kind("what happened")
    for attribute in vars(error):
        setattr(error, attribute, f"value of {attribute}")
    return error


@pytest.mark.parametrize("name", [*ERRORS, "InsecureWarning"])
@pytest.mark.parametrize(
    "send",
    [copy.copy, *(partial(pickled, protocol=p) for p in range(2, pickle.HIGHEST_PROTOCOL + 1))],
)
def test_errors_pickle(name, send):
    error = example(name)
    again = send(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert again.__cause__ is None


@pytest.mark.parametrize("name", [name for name in ERRORS if name != "RemoteTracebackError"])
def test_pickled_errors_keep_their_cause(name):
    error = example(name)
    error.__cause__ = errors.ModelError("the model raised")
    error.__cause__.__cause__ = errors.RemoteTracebackError("Traceback ...")
    again = pickled(error)
    assert vars(again) == vars(error)
    assert again.__suppress_context__
    assert isinstance(again.__cause__, errors.ModelError)
    assert isinstance(again.__cause__.__cause__, errors.RemoteTracebackError)
    assert "Traceback ..." in str(again.__cause__.__cause__)


def test_a_cause_that_does_not_pickle_becomes_its_traceback(monkeypatch):
    # dask.distributed registers a way of its own for all exceptions that exist when it is imported
    monkeypatch.delitem(copyreg.dispatch_table, errors.RootError, raising=False)

    class LocalError(Exception):
        pass

    try:
        try:
            raise LocalError("on another machine")
        except LocalError as cause:
            raise errors.RootError("the disk is full") from cause
    except errors.RootError as raised:
        again = pickled(raised)
    assert isinstance(again.__cause__, errors.RemoteTracebackError)
    assert "LocalError: on another machine" in str(again.__cause__)
    assert "test_errors.py" in str(again.__cause__)
