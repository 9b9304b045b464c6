"""Asking all members of a committee at the same time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Union

from ..errors import RootstockError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..calculator import RootstockCalculator
    from ..protocol.data import Results, Structure

__all__ = ["evaluate_concurrently"]


def evaluate_concurrently(
    members: Sequence[RootstockCalculator], structure: Structure, wanted: tuple[str, ...]
) -> list[Union[Results, RootstockError]]:
    """Return the results of each member, or its error.

    The members wait for their workers in threads; the first one in the caller's own. After an
    interrupt the workers of members that have not answered are killed, since nobody would read
    their replies; they start again at the next call.

    Raises
    ------
    BaseException
        What is no :class:`RootstockError`: an interrupt.
    """
    calls = [_Call(member, structure, wanted) for member in members]
    for call in calls[1:]:
        call.start()
    try:
        calls[0].run()
        for call in calls[1:]:
            call.join()
    except BaseException:
        for call in calls[1:]:
            call.cancel()
        raise
    return [call.outcome() for call in calls]


class _Call(threading.Thread):
    """One member's evaluation. A daemon: a model that hangs does not keep the interpreter."""

    def __init__(
        self, member: RootstockCalculator, structure: Structure, wanted: tuple[str, ...]
    ) -> None:
        super().__init__(name=f"rootstock-{member.spec.model}", daemon=True)
        self._member, self._structure, self._wanted = member, structure, wanted
        self._results: Union[Results, BaseException, None] = None

    def run(self) -> None:
        """Evaluate; keep what is raised, but let an interrupt of the caller's thread through."""
        try:
            self._results = self._member.results_of(self._structure, self._wanted)
        except Exception as error:  # noqa: BLE001  raised in the caller's thread
            self._results = error

    def cancel(self) -> None:
        """Kill the worker if it has not answered."""
        if self.is_alive():
            self._member.kill()

    def outcome(self) -> Union[Results, RootstockError]:
        """Return results or the error."""
        if isinstance(self._results, BaseException) and not isinstance(
            self._results, RootstockError
        ):
            raise self._results
        if self._results is None:
            msg = "a member of the committee returned nothing"
            raise RuntimeError(msg)
        return self._results
