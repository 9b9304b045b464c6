"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAILED", "NOT_APPLICABLE", "PASSED", "Check", "outcome"]

PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


@dataclass(frozen=True)
class Check:
    """One check and its outcome.

    Attributes
    ----------
    name : str
        The statement that was checked.
    outcome : str
        ``"passed"``, ``"failed"`` or ``"not applicable"``.
    detail : str
        Numbers with units, or the problem.
    """

    name: str
    outcome: str
    detail: str = ""

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return self.outcome == PASSED

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.outcome == FAILED


def outcome(passed: object) -> str:
    """Return ``"passed"`` or ``"failed"``."""
    return PASSED if passed else FAILED
