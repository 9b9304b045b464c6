"""Install environments by name, and list the available ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

from ..environments import build, discovery
from ..environments.discovery import find_environment
from ..environments.environment_file import check_settings
from ..environments.options import BuildOptions
from ..errors import ConfigurationError, UnknownNameError
from ..settings.root import find_root
from .add_files import add_files, named_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..environments.builds import BuiltEnvironment
    from ..environments.discovery import AvailableEnvironment
    from ..environments.environment import Environment
    from ..settings.root import Root
    from ..support.progress import Progress

__all__ = ["available", "find_or_add", "install", "install_one"]


def available(
    root: Optional[Union[str, os.PathLike[str], Root]] = None, cluster: Optional[str] = None
) -> list[AvailableEnvironment]:
    """Return every environment that a model string can name, broken ones with the problem.

    Parameters
    ----------
    root, cluster
        As for :class:`rootstock.RootstockCalculator`.
    """
    return discovery.available_environments(find_root(root, cluster))


def install(  # noqa: PLR0913  options, which are never passed by position
    *names: Union[str, os.PathLike[str]],
    root: Optional[Union[str, os.PathLike[str], Root]] = None,
    cluster: Optional[str] = None,
    python: Optional[str] = None,
    torch_backend: Optional[str] = None,
    system_site_packages: Optional[bool] = None,
    find_links: Sequence[str] = (),
    offline: bool = False,
    upgrade: bool = False,
    force: bool = False,
    progress: Optional[Progress] = None,
) -> tuple[BuiltEnvironment, ...]:
    """Build environments, so that their first use needs no network and no waiting.

    Parameters
    ----------
    *names : str or path
        Names of environments, files ``NAME_env.py``, or folders of these files; files are copied
        into the root. All are read before one is built.
    root, cluster
        As for :class:`rootstock.RootstockCalculator`.
    python : str, optional
        A version or an interpreter; by default the newest one for which there are wheels.
    torch_backend : str, optional
        uv's name of a PyTorch build: ``"cpu"``, ``"cu128"``, ``"auto"``, ...
    system_site_packages : bool, optional
        Use the packages that `python` has installed; by default as the file says.
    find_links : sequence of str
        Folders with wheels.
    offline : bool
        Use no network.
    upgrade : bool
        Resolve the dependencies again instead of following the lock.
    force : bool
        Build even if the current build is up to date; replace files of the same name.
    progress : Progress, optional
        Shows the progress of each build; by default chosen to suit stderr.

    Returns
    -------
    tuple of BuiltEnvironment
        In the order of `names`, a folder's by name; each with ``name``, ``build`` and ``python``.

    Raises
    ------
    ConfigurationError
        No name was given, or the root has another file of that name.
    UnknownNameError, EnvironmentFileError
        A name is unknown, or a file is broken or has unknown settings.
    BuildError
        uv failed.
    RootError
        The root can't be written.
    """
    if not names:
        msg = "name the environments to install, such as install('chgnet')"
        raise ConfigurationError(msg)
    options = BuildOptions(
        python=python,
        torch_backend=torch_backend,
        system_site_packages=system_site_packages,
        find_links=tuple(find_links),
        offline=offline,
        upgrade=upgrade,
        force=force,
    )
    environments = find_or_add(names, find_root(root, cluster), replace=force)
    return tuple(install_one(environment, progress, options) for environment in environments)


def install_one(
    environment: Environment, progress: Optional[Progress], options: BuildOptions
) -> BuiltEnvironment:
    """Build an environment; with default options only if its build is missing or out of date."""
    if options == BuildOptions():
        return build.prepare_environment(environment, progress)
    return build.build_environment(environment, progress, options)


def find_or_add(
    names: Sequence[Union[str, os.PathLike[str]]], root: Root, *, replace: bool = False
) -> list[Environment]:
    """Return the environments of these names, in order; copy named files into the root.

    Parameters
    ----------
    names : sequence of str or path
        Names, files or folders; a string with a slash or the suffix ``.py`` is a path, and so is
        an unknown name that is a folder here.
    root : Root
        The root.
    replace : bool
        Also replace files of the same name with different content.
    """
    paths = []
    order: list[str] = []
    for name in names:
        if isinstance(name, os.PathLike) or _is_path(name, root):
            paths.append(Path(name))
            order += [file_name for file_name, _ in named_files(Path(name))]
        else:
            check_settings(find_environment(name, root).file, strict=True)
            order.append(name)
    if paths:
        add_files(root, paths, replace=replace)
    return [find_environment(name, root) for name in order]


def _is_path(name: str, root: Root) -> bool:
    """Tell if what is to be installed is a file or folder."""
    if "/" in name or name.endswith(".py"):
        return True
    if not Path(name).is_dir():
        return False
    try:
        find_environment(name, root)
    except UnknownNameError:
        return True
    return False
