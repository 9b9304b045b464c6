"""Model string -> ModelSpec and EnvironmentFile."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..config import user_path
from ..data import EnvironmentFile, ModelSpec
from ..errors import ConfigurationError, EnvironmentFileError, UnknownNameError
from ..names import near_misses, suggestion
from ..root import environment_files
from .header import read_environment_file

if TYPE_CHECKING:
    from ..root import Root

__all__ = ["Available", "available", "local_path", "read_by_name", "resolve", "resolve_file"]

_CATALOGUE = Path(__file__).resolve().parent / "catalogue"


@dataclass(frozen=True)
class Available:
    """One line of a listing.

    Attributes
    ----------
    name : str
        The environment's name.
    origin : str
        ``"overlay"``, ``"root"`` or ``"catalogue"``.
    path : Path
        The environment file.
    file : EnvironmentFile or None
        What it says; None if it is broken.
    problem : str
        Why it is broken.
    """

    name: str
    origin: str
    path: Path
    file: Optional[EnvironmentFile] = None
    problem: str = ""


def _known(root: Root) -> dict[str, tuple[Path, str]]:
    """Return path and origin of every environment file; the root's come first."""
    known = {name: (path, "catalogue") for name, path in environment_files(_CATALOGUE).items()}
    known.update(root.files())
    return known


def available(root: Root) -> list[Available]:
    """Return every environment that a model string can name, broken ones with the reason."""
    found = []
    for name, (path, origin) in sorted(_known(root).items()):
        try:
            file = read_environment_file(path, name, origin)
        except EnvironmentFileError as error:
            found.append(Available(name, origin, path, problem=str(error)))
        else:
            found.append(Available(name, origin, path, file))
    return found


def resolve(model: str, root: Root) -> tuple[ModelSpec, EnvironmentFile]:
    """Split a model string and read its environment file.

    A model string is ``{name}`` or ``{name}-{argument}``. The longest known environment name wins
    and the rest is the argument, verbatim. One thing is done for the user: a relative path to a
    file that exists becomes absolute, because the worker has a working directory of its own.

    Raises
    ------
    UnknownNameError
        No environment of that name; has near misses and lists what is there.
    EnvironmentFileError
        The environment file is broken.
    """
    if not isinstance(model, str) or not model.strip():
        msg = f"model must be a string such as 'chgnet' or 'mace-medium', not {model!r}"
        raise ConfigurationError(msg)
    known = _known(root)
    matching = [name for name in known if model == name or model.startswith(f"{name}-")]
    if not matching:
        raise _unknown(model, known, root)
    name = max(matching, key=len)
    path, origin = known[name]
    argument = local_path(model[len(name) + 1 :])
    return ModelSpec(model, name, argument), read_environment_file(path, name, origin)


def read_by_name(name: str, root: Root) -> EnvironmentFile:
    """Read the environment file of that name.

    Raises
    ------
    UnknownNameError
        There is none.
    """
    known = _known(root)
    if name not in known:
        raise _unknown(name, known, root)
    return read_environment_file(known[name][0], name, known[name][1])


def resolve_file(path: Path) -> EnvironmentFile:
    """Read an environment file that the user points at; it is used as it is."""
    path = user_path(path)
    return read_environment_file(path, path.stem.removesuffix("_env") or path.stem, "file")


def local_path(argument: str) -> str:
    """Make a relative path to something that exists absolute; leave all else alone."""
    if os.sep in argument and not os.path.isabs(argument) and os.path.exists(argument):
        return os.path.abspath(argument)
    return argument


def _unknown(model: str, known: dict[str, tuple[Path, str]], root: Root) -> UnknownNameError:
    near = near_misses(model, known) or near_misses(model.partition("-")[0], known)
    msg = (
        f"unknown model {model!r}{suggestion(near)} A model string is NAME or NAME-ARGUMENT; known "
        f"names are {', '.join(sorted(known))}. Add your own as {root.environments}/NAME_env.py."
    )
    return UnknownNameError(msg, model, near)
