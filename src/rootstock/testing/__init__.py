"""Fakes for tests of code that uses Rootstock: a fake model in an environment, a scripted model.

A fake model runs in a real worker, in an environment with ASE and NumPy only:

>>> from rootstock import RootstockCalculator
>>> from rootstock.testing import fake_environment
>>> RootstockCalculator("reference", environment=fake_environment())  # doctest: +SKIP

A scripted model needs neither environment nor process; it tests code that uses the protocol:

>>> from rootstock.testing import ScriptedModel, connected
>>> with connected(ScriptedModel({"energy": 1.0})) as server:  # doctest: +SKIP
...     server.evaluate_one(structure, ["energy"])
"""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ProtocolError
from ..protocol.client import run_client
from ..protocol.frames import Connection
from ..protocol.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import numpy as np

__all__ = ["ScriptedModel", "connected", "fake_environment"]


class ScriptedModel:
    """A model that returns scripted results and records its calls.

    Parameters
    ----------
    results : mapping, or callable
        The results of every call, or a function of the call that returns them or raises.
    properties : tuple of str
        Its implemented properties.

    Attributes
    ----------
    calls : list of dict
        ``positions``, ``cell``, ``properties``, ``arrays`` and ``info`` of each call, copied.
    fixed_inputs_received : int
        How often fixed inputs were sent.
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
        """Record the fixed inputs."""
        self.fixed_inputs_received += 1
        self._arrays, self._info = dict(arrays), info

    def evaluate(
        self, positions: np.ndarray, cell: np.ndarray, properties: list[str]
    ) -> Mapping[str, Any]:
        """Record the call and return the results."""
        call = {
            "positions": positions.copy(),
            "cell": cell.copy(),
            "properties": properties,
            "arrays": self._arrays,
            "info": self._info,
        }
        self.calls.append(call)
        return self._results(call) if callable(self._results) else self._results


def fake_environment() -> Path:
    """Return the path of an environment file with fake models.

    Its docstring lists them: ``reference``, whose energy, forces and stress depend on all inputs,
    ``null`` and ``misbehaving``, which raises, dies, hangs or returns NaN on request.
    """
    return Path(__file__).with_name("fake_env.py")


@contextlib.contextmanager
def connected(model: ScriptedModel, **config: Any) -> Iterator[Server]:
    """Connect a server to `model` over a socket pair, the client in a thread of this process.

    Parameters
    ----------
    model : ScriptedModel
        The model that the client evaluates.
    **config
        What the model's ``load()`` receives.

    Yields
    ------
    Server
        Its model is loaded.
    """
    ours, theirs = socket.socketpair()
    peer = Connection(theirs)

    def answer() -> None:
        with contextlib.suppress(ProtocolError), contextlib.closing(peer):
            run_client(peer, model)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    connection = Connection(ours)
    server = Server(connection)
    try:
        server.load(config)
        yield server
    finally:
        connection.close()
        thread.join(5)
