"""The user's function, with its random numbers."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

__all__ = ["TaskFunction"]


class TaskFunction:
    """Calls a function; one with a parameter ``rng`` gets a generator of the structure's own.

    Parameters
    ----------
    function : callable
        Takes the Atoms.
    seed : int
        With the structure's index, the seed of its generator.

    Raises
    ------
    ConfigurationError
        It can't be called, or `seed` is invalid.
    """

    def __init__(self, function: Callable[..., Any], seed: int) -> None:
        _check_callable(function)
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
            msg = f"seed={seed!r} must be an integer, 0 or larger"
            raise ConfigurationError(msg)
        self.function = function
        self._seed = int(seed)
        self._takes_rng = _takes_rng(function)

    def __call__(self, index: int, atoms: Atoms) -> Any:
        """Return what the function returns for structure number `index`."""
        if self._takes_rng:
            return self.function(atoms, rng=np.random.default_rng([self._seed, index]))
        return self.function(atoms)


def _check_callable(function: Any) -> None:
    if not callable(function):
        msg = f"function={function!r} has to be a function that takes Atoms"
        raise ConfigurationError(msg)


def _takes_rng(function: Callable[..., Any]) -> bool:
    if isinstance(function, functools.partial) and "rng" in function.keywords:
        return False  # it has one already
    try:
        parameter = inspect.signature(function).parameters.get("rng")
    except (TypeError, ValueError):  # a compiled function
        return False
    return parameter is not None and parameter.kind in (
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.KEYWORD_ONLY,
    )
