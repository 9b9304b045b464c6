"""Cluster names and their roots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UnknownNameError
from ..support.suggestions import did_you_mean, similar_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .config import Config

__all__ = ["BUILT_IN", "cluster_root", "known_clusters"]

#: Clusters that ship with Rootstock.
BUILT_IN: Mapping[str, Path] = {
    "modal": Path("/vol/rootstock"),
    "della": Path("/scratch/gpfs/SHARED/rootstock"),
}


def known_clusters(config: Config) -> dict[str, Path]:
    """Return every known cluster; the config's names come before the built-in ones."""
    return {**BUILT_IN, **config.clusters}


def cluster_root(name: str, config: Config) -> Path:
    """Return the root folder of a cluster.

    Raises
    ------
    UnknownNameError
        No cluster has that name.
    """
    known = known_clusters(config)
    try:
        return known[name]
    except (KeyError, TypeError):
        similar = similar_names(str(name), known)
        msg = (
            f"unknown cluster {name!r}{did_you_mean(similar)} Known: {', '.join(sorted(known))}. "
            "Add your own under [clusters] in ~/.config/rootstock/config.toml, or give root=..."
        )
        raise UnknownNameError(msg, str(name), similar) from None
