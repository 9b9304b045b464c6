"""The command line: one file per command."""

from .app import app, main

__all__ = ["app", "main"]
