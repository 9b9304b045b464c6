"""How structures are evaluated on one kind of device: one by one, or in batches of which size."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Optional

from .batch_check import BatchCheck, check_batches, device_label, read_check, write_check
from .budget import AtomBudget, Pace

if TYPE_CHECKING:
    from ..runtime.session import Session
    from .chunk import Chunk, Evaluated, Wanted

__all__ = ["Policies", "Policy"]

#: Checks that may come to no conclusion before structures are evaluated one by one.
_MOST_TRIES = 4


class Policy:
    """What the workers on devices of one kind do.

    Parameters
    ----------
    wanted : Wanted
        The properties to ask for.
    batch_atoms : int, optional
        A fixed budget.
    exact : bool
        Never use ``evaluate_batch()``.

    Attributes
    ----------
    exact : bool
        As given.
    check : BatchCheck or None
        The outcome of the check of ``evaluate_batch()`` against the calculator.
    budget, pace : AtomBudget, Pace
        Sizes of batches, and of requests whose structures are evaluated one by one.
    """

    def __init__(self, wanted: Wanted, batch_atoms: Optional[int], *, exact: bool) -> None:
        self.wanted = wanted
        self.check: Optional[BatchCheck] = None
        self.pace = Pace()
        self.budget = AtomBudget(batch_atoms)
        self._batch_atoms = batch_atoms
        self.exact = exact
        self._is_decided = exact
        self._tries = 0
        self._lock = threading.Lock()

    @property
    def together(self) -> bool:
        """Whether batches go to ``evaluate_batch()``."""
        check = self.check
        if self.exact or check is None or not check.passed:
            return False
        return self._batch_atoms is not None or check.is_faster

    @property
    def is_decided(self) -> bool:
        """Whether no check of ``evaluate_batch()`` is to come; one may be under way."""
        return self._is_decided

    def remember(self, session: Session) -> None:
        """Take over what an earlier run recorded about the session's model and device."""
        with self._lock:
            if self._is_decided:
                return
            if not session.start().evaluates_batches:
                self._is_decided = True
                return
            check = read_check(session)
            if check is not None and set(self.wanted.properties) <= set(check.properties):
                self._adopt(check)

    def needs_check(self) -> bool:
        """Tell if the caller is to check ``evaluate_batch()`` now; at most one caller is."""
        with self._lock:
            needed = not self._is_decided
            self._is_decided = True
            return needed

    def check_on(self, session: Session, chunk: Chunk) -> list[Evaluated]:
        """Check ``evaluate_batch()`` on a chunk; return the outcomes of one by one."""
        check, outcomes = check_batches(session, chunk)
        if check is None:
            with self._lock:
                self._tries += 1  # nothing to compare: the next chunk may have more
                self._is_decided = self._tries >= _MOST_TRIES
            return outcomes
        write_check(session, check)
        with self._lock:
            self._adopt(check)
        return outcomes

    def keep(self, session: Session) -> None:
        """Record a budget that no longer grows for the next run."""
        check = self.check
        if check is None or not self.together or self._batch_atoms is not None:
            return
        # after a few small chunks it may still be growing: the next run would start from less
        if self.budget.is_settled and check.atom_budget != self.budget.atoms:
            write_check(session, check.with_budget(self.budget.atoms))

    def _adopt(self, check: BatchCheck) -> None:
        self.check = check
        self._is_decided = True
        self.budget = AtomBudget(self._batch_atoms, check.atom_budget or None)


class Policies:
    """One policy for each kind of device; thread-safe.

    Parameters
    ----------
    wanted, batch_atoms, exact
        As for :class:`Policy`.
    """

    def __init__(self, wanted: Wanted, batch_atoms: Optional[int], *, exact: bool) -> None:
        self._arguments = (wanted, batch_atoms)
        self._exact = exact
        self._by_device: dict[str, Policy] = {}
        self._lock = threading.Lock()

    def of(self, session: Session) -> Policy:
        """Return the policy for a session whose worker runs."""
        label = device_label(session.start())
        with self._lock:
            if label not in self._by_device:
                self._by_device[label] = Policy(*self._arguments, exact=self._exact)
            policy = self._by_device[label]
        policy.remember(session)
        return policy
