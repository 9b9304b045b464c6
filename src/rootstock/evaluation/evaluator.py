"""The interface of everything that evaluates structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, Union

from ..errors import RootstockError
from ..protocol.data import Results

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..protocol.data import Structure

__all__ = ["Evaluator", "Outcome"]

#: The results of a structure, or the error that its evaluation raised.
Outcome = Union[Results, RootstockError]


class Evaluator(Protocol):
    """Evaluates structures: a session, an i-PI calculator, a direct call, or a fake."""

    @property
    def provenance(self) -> Any:
        """How results are computed; JSON data or a :class:`rootstock.Provenance`."""
        ...

    def evaluate(
        self, structures: Iterable[Structure], properties: Iterable[str]
    ) -> Iterator[Outcome]:
        """Yield the outcome of each structure, in order.

        Parameters
        ----------
        structures : iterable of Structure
            The structures; positions and cells in Å.
        properties : str or iterable of str
            ASE's names of the properties to ask for; results may hold more.

        Yields
        ------
        dict or RootstockError
            Results in ASE's units, or the error of that structure; later structures are not
            affected.
        """
        ...

    def close(self) -> None:
        """End the worker or program that evaluates; more than once does nothing."""
        ...
