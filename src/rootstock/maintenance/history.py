"""The builds of an environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..environments.builds import BuildRecord, all_builds, current_build

if TYPE_CHECKING:
    from ..environments.environment import Environment, EnvironmentPaths

__all__ = ["BuildEntry", "builds_of_layer", "history"]


@dataclass(frozen=True)
class BuildEntry:
    """One build in an environment's history.

    Attributes
    ----------
    id : str
        The build id.
    current : bool
        Whether new workers use it.
    record : BuildRecord
        Sources, tools, time, machine and user of the build.
    """

    id: str
    current: bool
    record: BuildRecord


def history(environment: Environment) -> list[BuildEntry]:
    """Return the builds of an environment: the user layer's first, newest first in each layer."""
    return [entry for paths in environment.layers for entry in builds_of_layer(paths)]


def builds_of_layer(paths: EnvironmentPaths) -> list[BuildEntry]:
    """Return the builds in one layer, newest first."""
    current = current_build(paths.builds)
    return [
        BuildEntry(build.folder.name, build == current, build.record)
        for build in all_builds(paths.builds)
    ]
