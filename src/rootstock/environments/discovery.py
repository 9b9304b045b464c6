"""Which environment files there are: the catalogue's, the root's and the user layer's."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..errors import EnvironmentFileError, UnknownNameError
from ..settings.config import user_path
from ..support.suggestions import did_you_mean, similar_names
from .environment import FILE_SUFFIX, Environment
from .environment_file import EnvironmentFile, read_environment_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..settings.root import Root

__all__ = [
    "AvailableEnvironment",
    "available_environments",
    "environment_files",
    "environment_from_file",
    "find_environment",
    "known_files",
    "read_again",
    "unknown_environment",
    "unknown_name",
]

_CATALOGUE = Path(__file__).resolve().parent / "catalogue"


@dataclass(frozen=True)
class AvailableEnvironment:
    """An environment that model strings can name.

    Attributes
    ----------
    name : str
        The environment's name.
    origin : str
        ``"user"`` (the user layer), ``"root"`` or ``"catalogue"``.
    path : Path
        The environment file.
    environment : Environment or None
        None if the file is broken.
    problem : str
        Why it is broken; empty if it is not.
    """

    name: str
    origin: str
    path: Path
    environment: Optional[Environment] = None
    problem: str = ""

    @property
    def file(self) -> Optional[EnvironmentFile]:
        """The environment file, or None if it is broken."""
        return None if self.environment is None else self.environment.file


def environment_files(folder: Path) -> dict[str, Path]:
    """Return the ``{name}_env.py`` files of a folder by name; empty if there is no folder."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return {}
    return {
        name.removesuffix(FILE_SUFFIX): folder / name
        for name in names
        if name.endswith(FILE_SUFFIX) and name != FILE_SUFFIX and not name.startswith(".")
    }


def known_files(root: Root) -> dict[str, tuple[Path, str]]:
    """Return path and origin of every environment file by name; reads no file.

    The user layer comes before the root, the root before the catalogue.
    """
    known = {name: (path, "catalogue") for name, path in environment_files(_CATALOGUE).items()}
    for layer in reversed(root.layers):
        origin = "root" if layer == root.shared else "user"
        for name, path in environment_files(layer.environments).items():
            known[name] = (path, origin)
    return known


def available_environments(root: Root) -> list[AvailableEnvironment]:
    """Return every environment that a model string can name, broken ones with the problem."""
    entries = []
    for name, (path, origin) in sorted(known_files(root).items()):
        try:
            file = read_environment_file(path, name, origin)
        except EnvironmentFileError as error:
            entries.append(AvailableEnvironment(name, origin, path, problem=str(error)))
        else:
            entries.append(AvailableEnvironment(name, origin, path, Environment.of(file, root)))
    return entries


def find_environment(name: str, root: Root) -> Environment:
    """Return the environment of that name; reads its file.

    Raises
    ------
    UnknownNameError
        There is none.
    EnvironmentFileError
        Its file is broken.
    """
    known = known_files(root)
    if name not in known:
        raise unknown_environment(name, known, root)
    path, origin = known[name]
    return Environment.of(read_environment_file(path, name, origin), root)


def environment_from_file(path: Path, root: Optional[Root] = None) -> Environment:
    """Read an environment file outside a root; it is used where it is, not copied."""
    path = user_path(path)
    name = path.stem.removesuffix("_env") or path.stem
    return Environment.of(read_environment_file(path, name, "file"), root)


def read_again(environment: Environment) -> Environment:
    """Return an environment as its file is now; the same object if the file did not change.

    Raises
    ------
    UnknownNameError, EnvironmentFileError
        The file is gone or broken.
    """
    file, root = environment.file, environment.root
    with contextlib.suppress(OSError):
        if hashlib.sha256(file.path.read_bytes()).hexdigest() == file.digest:
            return environment
    if file.origin == "file" or root is None:
        return Environment.of(read_environment_file(file.path, file.name, file.origin), root)
    return find_environment(file.name, root)


def unknown_environment(
    name: str, known: Mapping[str, tuple[Path, str]], root: Root
) -> UnknownNameError:
    """Return the error for the name of an environment that does not exist."""
    owners = [owner for owner in known if name.startswith(f"{owner}-")]
    if owners:
        owner = max(owners, key=len)
        msg = f"{name!r} is a model of the environment {owner!r}: give {owner!r} here"
        return UnknownNameError(msg, name, (owner,))
    similar = similar_names(name, known)
    msg = (
        f"there is no environment {name!r}{did_you_mean(similar)} Known names are "
        f"{', '.join(sorted(known))}. Add your own as "
        f"{root.shared.environments}/NAME{FILE_SUFFIX}."
    )
    return UnknownNameError(msg, name, similar)


def unknown_name(model: str, known: Mapping[str, tuple[Path, str]], root: Root) -> UnknownNameError:
    """Return the error for a model string that does not begin with an environment's name."""
    similar = similar_names(model, known) or similar_names(model.partition("-")[0], known)
    msg = (
        f"unknown model {model!r}{did_you_mean(similar)} A model string is NAME or NAME-ARGUMENT; "
        f"known names are {', '.join(sorted(known))}. Add your own as "
        f"{root.shared.environments}/NAME{FILE_SUFFIX}."
    )
    return UnknownNameError(msg, model, similar)
