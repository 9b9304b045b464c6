"""Install environments by name, and list those that can be named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from ..environments import build, discovery
from ..environments.discovery import find_environment
from ..environments.environment_file import check_settings
from ..environments.options import BuildOptions
from ..settings.root import find_root
from .add_files import add_files

if TYPE_CHECKING:
    from ..environments.builds import BuiltEnvironment
    from ..environments.discovery import AvailableEnvironment
    from ..environments.environment import Environment
    from ..settings.root import Root
    from ..support.progress import Progress

__all__ = ["available", "find_or_add", "install"]


def available(
    root: Optional[Union[str, os.PathLike[str], Root]] = None, cluster: Optional[str] = None
) -> list[AvailableEnvironment]:
    """Return every environment that a model string can name; broken ones say why.

    Parameters
    ----------
    root, cluster
        As for :class:`rootstock.RootstockCalculator`.
    """
    return discovery.available(find_root(root, cluster))


def install(
    *names: str,
    root: Optional[Union[str, os.PathLike[str], Root]] = None,
    cluster: Optional[str] = None,
    progress: Optional[Progress] = None,
    **options: Any,
) -> tuple[BuiltEnvironment, ...]:
    """Build environments, so that their first use needs no network and no waiting.

    Parameters
    ----------
    *names : str
        Names of environments, files ``NAME_env.py``, or folders of such; files are copied into the
        root. All are read before one is built.
    root, cluster
        As for :class:`rootstock.RootstockCalculator`.
    progress : Progress, optional
        Shows the progress of each build; by default what fits stderr.
    **options
        Fields of :class:`rootstock.environments.options.BuildOptions`: ``python``,
        ``torch_backend``, ``system_site_packages``, ``find_links``, ``offline``, ``upgrade`` and
        ``force``, which also replaces files.

    Raises
    ------
    UnknownNameError, EnvironmentFileError
        A name is unknown, or a file is broken or has unknown settings.
    BuildError
        uv failed.
    RootError
        The root can't be written.
    """
    chosen = BuildOptions(**options)
    environments = find_or_add(names, find_root(root, cluster), replace=chosen.force)
    return tuple(install_one(environment, progress, chosen) for environment in environments)


def install_one(
    environment: Environment, progress: Optional[Progress], options: BuildOptions
) -> BuiltEnvironment:
    """Build an environment; without options only if its build is missing or out of date."""
    if options == BuildOptions():
        return build.prepare_environment(environment, progress)
    return build.install(environment, progress, options)


def find_or_add(names: tuple[str, ...], root: Root, *, replace: bool = False) -> list[Environment]:
    """Return the environments of these names; copy named files into the root.

    Parameters
    ----------
    names : tuple of str
        Names, files or folders.
    root : Root
        The root.
    replace : bool
        Also replace files of the same name with another content.
    """
    paths = [Path(name) for name in names if "/" in name or name.endswith(".py")]
    known = [find_environment(name, root) for name in names if Path(name) not in paths]
    for environment in known:
        check_settings(environment.file, strict=True)
    return [*known, *(add_files(root, paths, replace=replace) if paths else [])]
