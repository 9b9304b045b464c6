"""The door: the worker's process and the session that calculators share."""

from .session import Lease, Recipe, Session

__all__ = ["Lease", "Recipe", "Session"]
