"""The cellar: environment files, what a model string means, uv, locks and builds.

A calculator needs none of it before it is made, so that a public name is imported when it is first
asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build import install, is_ready, prepare
    from .header import declared_packages, read_environment_file
    from .model_strings import available, local_path, read_by_name, resolve, resolve_file

_HOMES = {
    "available": "model_strings",
    "declared_packages": "header",
    "install": "build",
    "is_ready": "build",
    "local_path": "model_strings",
    "prepare": "build",
    "read_by_name": "model_strings",
    "read_environment_file": "header",
    "resolve": "model_strings",
    "resolve_file": "model_strings",
}

__all__ = [
    "available",
    "declared_packages",
    "install",
    "is_ready",
    "local_path",
    "prepare",
    "read_by_name",
    "read_environment_file",
    "resolve",
    "resolve_file",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
