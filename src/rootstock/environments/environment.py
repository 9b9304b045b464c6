"""An environment of a root: its file, and where each layer keeps the lock and the builds.

The paths are computed once, when the environment is resolved, and handed down from there.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from pathlib import Path

    from ..settings.root import Layer, Root
    from .environment_file import EnvironmentFile

__all__ = ["FILE_SUFFIX", "Environment", "EnvironmentPaths"]

#: Environment files are called ``{name}_env.py``.
FILE_SUFFIX = "_env.py"


@dataclass(frozen=True)
class EnvironmentPaths:
    """Where one layer of a root keeps an environment.

    Attributes
    ----------
    layer : Layer
        The layer of the root.
    source : Path
        The environment file of that name; it need not exist.
    lock : Path
        The lock of the environment file.
    builds : Path
        The folder of its built environments.
    """

    layer: Layer
    source: Path
    lock: Path
    builds: Path

    @classmethod
    def of(cls, file: EnvironmentFile, layer: Layer) -> EnvironmentPaths:
        """Compute the paths of an environment file in a layer."""
        files = layer.environments
        source = files / f"{file.name}{FILE_SUFFIX}"
        # uv takes pylock.toml or pylock.<name>.toml, where the name has no dot
        lock = f"pylock.{file.name.replace('.', '_')}.toml"
        if file.origin != "file":
            return cls(layer, source, files / lock, layer.builds / file.name)
        # a file outside of the root: two of the same name must not share their builds
        digest = hashlib.sha256(os.fsencode(file.path.resolve())).hexdigest()[:12]
        builds = layer.builds / f"{file.name}@{digest}"
        return cls(layer, source, builds / lock, builds)


@dataclass(frozen=True)
class Environment:
    """An environment file and its place in a root.

    Attributes
    ----------
    file : EnvironmentFile
        The environment file that is used.
    root : Root or None
        None: uv keeps the environment in its own cache, as ``uv run --script`` does.
    layers : tuple of EnvironmentPaths
        Paths in each layer, in the order in which layers are searched; empty without a root.
    """

    file: EnvironmentFile
    root: Optional[Root]
    layers: tuple[EnvironmentPaths, ...]

    @classmethod
    def of(cls, file: EnvironmentFile, root: Optional[Root]) -> Environment:
        """Compute the paths of an environment file in every layer of a root."""
        layers = () if root is None else root.layers
        return cls(file, root, tuple(EnvironmentPaths.of(file, layer) for layer in layers))

    @property
    def name(self) -> str:
        """Name in model strings and in the root."""
        return self.file.name

    @property
    def writable(self) -> EnvironmentPaths:
        """The paths in the layer that is written to."""
        return self.layers[0]

    def is_maintained_elsewhere(self, paths: EnvironmentPaths) -> bool:
        """Return whether file and builds of these paths are in a root that the user only reads."""
        root = self.root
        return (
            root is not None
            and root.is_read_only
            and paths.layer == root.shared
            and self.file.origin == "root"
        )
