"""The command line: one file per command; commands return frozen results, only ``output`` prints."""

from .app import app, main

__all__ = ["app", "main"]
