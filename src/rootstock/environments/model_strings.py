"""Split a model string into an environment and the argument of its ``setup()``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from .discovery import known_files, unknown_name
from .environment import Environment
from .environment_file import read_environment_file

if TYPE_CHECKING:
    from ..settings.root import Root

__all__ = ["absolute_path", "model_string", "resolve"]


def resolve(model: str, root: Root) -> tuple[Environment, str]:
    """Split a model string and read its environment file.

    A model string is ``{name}`` or ``{name}-{argument}``. The longest known environment name wins
    and the rest is the argument, verbatim, with one exception: a relative path to a file that
    exists becomes absolute, because the worker has a working directory of its own.

    Returns
    -------
    Environment
        The environment whose ``setup()`` loads the model.
    str
        The argument ``model`` of ``setup()``.

    Raises
    ------
    UnknownNameError
        No environment of that name; suggests similar names and lists the known ones.
    EnvironmentFileError
        The environment file is broken.
    """
    if not isinstance(model, str) or not model.strip():
        msg = f"model must be a string such as 'chgnet' or 'mace-medium', not {model!r}"
        raise ConfigurationError(msg)
    known = known_files(root)
    matching = [name for name in known if model == name or model.startswith(f"{name}-")]
    if not matching:
        raise unknown_name(model, known, root)
    name = max(matching, key=len)
    path, origin = known[name]
    file = read_environment_file(path, name, origin)
    return Environment.of(file, root), absolute_path(model[len(name) + 1 :])


def model_string(environment: str, argument: str) -> str:
    """Return the model string of an environment's name and an argument."""
    return f"{environment}-{argument}" if argument else environment


def absolute_path(argument: str) -> str:
    """Return a relative path with a slash as absolute if it exists; else return `argument`."""
    if os.sep in argument and not os.path.isabs(argument) and os.path.exists(argument):
        return os.path.abspath(argument)
    return argument
