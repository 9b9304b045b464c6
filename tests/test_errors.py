"""The error classes."""

from __future__ import annotations

import copy
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


class LocalError(Exception):
    """Pickles nowhere."""

    def __reduce__(self):
        raise TypeError("can't be pickled")


@pytest.fixture
def error_with_a_cause():
    try:
        try:
            raise LocalError("on another machine")
        except LocalError as cause:
            raise errors.RootError("the disk is full") from cause
    except errors.RootError as raised:
        return raised


def test_a_cause_that_does_not_pickle_becomes_its_traceback(error_with_a_cause):
    kind, arguments, state = error_with_a_cause.__reduce__()
    again = kind(*arguments)
    again.__setstate__(state)
    assert isinstance(again.__cause__, errors.RemoteTracebackError)
    assert "LocalError: on another machine" in str(again.__cause__)
    assert "test_errors.py" in str(again.__cause__)


def test_a_portable_error_pickles_with_any_pickler(error_with_a_cause):
    """Tblib's pickles the cause itself; distributed may have installed it before."""
    outer = errors.StartupError("the worker did not start")
    outer.__cause__ = error_with_a_cause
    errors.make_portable(outer)
    again = pickled(outer)
    assert str(again.__cause__) == "the disk is full"
    assert "LocalError: on another machine" in str(again.__cause__.__cause__)
    assert again.__traceback__ is again.__cause__.__traceback__ is None
