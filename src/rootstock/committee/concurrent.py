"""Asking all members of a committee at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Optional

from ..errors import RootstockError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..calculator import RootstockCalculator

__all__ = ["call_concurrently"]


def call_concurrently(
    calls: Sequence[Callable[[], Any]], members: Sequence[RootstockCalculator]
) -> list[Any]:
    """Return what each call returns, or the :class:`RootstockError` that it raises.

    The members wait for their workers in threads; the first one in the caller's own. After an
    interrupt the members' workers are killed if one has not answered, since nothing would read the
    replies; they start again at the next call.

    Parameters
    ----------
    calls : sequence of callable
        One for each member that is asked.
    members : sequence of RootstockCalculator
        The members, whose workers an interrupt ends.

    Raises
    ------
    BaseException
        Other errors than :class:`RootstockError`: an interrupt.
    """
    threads = [_Call(call) for call in calls]
    for thread in threads[1:]:
        thread.start()
    try:
        threads[0].run()
        for thread in threads[1:]:
            thread.join()
    except BaseException:
        if any(thread.is_alive() for thread in threads[1:]):
            for member in members:
                member.kill()
        raise
    return [thread.outcome() for thread in threads]


class _Call(threading.Thread):
    """A call in a thread. A daemon: a model that hangs does not keep the interpreter."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(name="rootstock-member", daemon=True)
        self._call = call
        self._returned: Any = None
        self._raised: Optional[Exception] = None

    def run(self) -> None:
        """Call; keep what is raised, but let an interrupt of the caller's thread through."""
        try:
            self._returned = self._call()
        except Exception as error:  # noqa: BLE001  raised in the caller's thread
            self._raised = error

    def outcome(self) -> Any:
        """Return what the call returned, or its error."""
        if self._raised is None:
            return self._returned
        if isinstance(self._raised, RootstockError):
            return self._raised
        raise self._raised
