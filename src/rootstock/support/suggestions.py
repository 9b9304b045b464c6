"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["did_you_mean", "similar_names"]


def similar_names(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return up to three of `known` that look like `name`, best first."""
    spelled = {candidate.lower(): candidate for candidate in known}
    return tuple(spelled[m] for m in difflib.get_close_matches(name.lower(), spelled, 3, 0.6))


def did_you_mean(similar: Iterable[str]) -> str:
    """Return ``"; did you mean 'a' or 'b'?"``, or ``"."`` without any suggestion."""
    text = " or ".join(map(repr, similar))
    return f"; did you mean {text}?" if text else "."
