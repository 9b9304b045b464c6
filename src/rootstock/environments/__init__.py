"""The cellar: environment files, what a model string means, uv, locks and builds."""

from .build import install, prepare
from .header import read_environment_file
from .resolve import available, resolve

__all__ = ["available", "install", "prepare", "read_environment_file", "resolve"]
