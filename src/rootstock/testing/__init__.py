"""Stand-ins for the far side of the wire, for tests of code that uses Rootstock.

>>> from rootstock.testing import connected
>>> with connected(ScriptedModel({"energy": 1.0})) as host:  # doctest: +SKIP
...     host.compute(structure, ["energy"])
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from ..errors import ProtocolError
from ..protocol.client import serve
from ..protocol.frames import Connection
from ..protocol.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np

__all__ = ["ScriptedModel", "connected"]


class ScriptedModel:
    """A model that answers what it is told to, and remembers what it was asked.

    Parameters
    ----------
    results : mapping, or callable
        The answer to every call, or a function of the call that returns it or raises.
    properties : tuple of str
        What it says that it implements.

    Attributes
    ----------
    calls : list of dict
        ``positions``, ``cell``, ``properties``, ``arrays`` and ``info`` of each call, copied.
    topologies : int
        How often a topology was sent.
    """

    def __init__(
        self,
        results: Mapping[str, Any] | Callable[[dict[str, Any]], Mapping[str, Any]],
        properties: tuple[str, ...] = ("energy", "forces", "stress"),
    ) -> None:
        self.calls: list[dict[str, Any]] = []
        self.fixed_inputs_received = 0
        self._results = results
        self._properties = properties
        self._arrays: dict[str, Any] = {}
        self._info: dict[Any, Any] = {}

    def load(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Return a report; raise what ``config["error"]`` names."""
        if "error" in config:
            raise RuntimeError(config["error"])
        return {
            "implemented_properties": list(self._properties),
            "device": str(config.get("device", "cpu")),
            "calculator": "rootstock.testing.ScriptedModel",
            "python": "3",
            "packages": {},
        }

    def set_fixed_inputs(self, arrays: Mapping[str, np.ndarray], info: dict[Any, Any]) -> None:
        """Remember the topology."""
        self.fixed_inputs_received += 1
        self._arrays, self._info = dict(arrays), info

    def compute(
        self, positions: np.ndarray, cell: np.ndarray, properties: list[str]
    ) -> Mapping[str, Any]:
        """Answer."""
        call = {
            "positions": positions.copy(),
            "cell": cell.copy(),
            "properties": properties,
            "arrays": self._arrays,
            "info": self._info,
        }
        self.calls.append(call)
        return self._results(call) if callable(self._results) else self._results


@contextlib.contextmanager
def connected(model: ScriptedModel, **config: Any) -> Iterator[Server]:
    """Connect a host to `model` over a socket pair, the guest in a thread of this process.

    Parameters
    ----------
    model : ScriptedModel
        What answers.
    **config
        What the model's ``load()`` gets.

    Yields
    ------
    Host
        Loaded.
    """
    ours, theirs = socket.socketpair()
    guest = Connection(theirs)

    def answer() -> None:
        with contextlib.suppress(ProtocolError), contextlib.closing(guest):
            serve(guest, model)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    connection = Connection(ours)
    host = Server(connection)
    try:
        host.load(config)
        yield host
    finally:
        connection.close()
        thread.join(5)
