"""The door: the worker's process and the session that calculators share."""

from .session import Recipe, Session

__all__ = ["Recipe", "Session"]
