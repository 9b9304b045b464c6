"""The command line: one file per command. Only ``output`` prints."""

from .app import app, main

__all__ = ["app", "main"]
