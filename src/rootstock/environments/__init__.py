"""The cellar: environment files, what a model string means, uv, locks and builds.

A calculator needs none of it before it is made, so that a public name is imported when it is first
asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import find_built, find_lock, install, is_ready, prepare, relock
    from .environment_file import declared_packages, read_environment_file
    from .discovery import available, read_by_name, resolve_file
    from .model_strings import local_path, resolve
    from ..maintenance.pack import pack, unpack
    from .permissions import warn_if_open
    from ..maintenance.add_files import add_files
    from ..maintenance.gc import collect, plan_collection
    from ..maintenance.history import history
    from ..maintenance.initialise import init_root
    from ..maintenance.rollback import rollback
    from ..maintenance.uninstall import uninstall
    from .weights import expose_weights, require_weights, weights_provenance

_HOMES = {
    "add_files": "upkeep",
    "available": "model_strings",
    "collect": "upkeep",
    "declared_packages": "header",
    "find_built": "build",
    "find_lock": "build",
    "history": "upkeep",
    "expose_weights": "weights",
    "init_root": "upkeep",
    "install": "build",
    "is_ready": "build",
    "local_path": "model_strings",
    "pack": "packing",
    "plan_collection": "upkeep",
    "prepare": "build",
    "read_by_name": "model_strings",
    "read_environment_file": "header",
    "relock": "build",
    "require_weights": "weights",
    "resolve": "model_strings",
    "resolve_file": "model_strings",
    "rollback": "upkeep",
    "uninstall": "upkeep",
    "unpack": "packing",
    "warn_if_open": "trust",
    "weights_provenance": "weights",
}

__all__ = [
    "add_files",
    "available",
    "collect",
    "declared_packages",
    "expose_weights",
    "find_built",
    "find_lock",
    "history",
    "init_root",
    "install",
    "is_ready",
    "local_path",
    "pack",
    "plan_collection",
    "prepare",
    "read_by_name",
    "read_environment_file",
    "relock",
    "require_weights",
    "resolve",
    "resolve_file",
    "rollback",
    "uninstall",
    "unpack",
    "warn_if_open",
    "weights_provenance",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
