"""Fakes for tests of code that uses Rootstock: of a model, an evaluator and a worker.

A fake model runs in a real worker, in an environment with ASE and NumPy only:

>>> from rootstock import RootstockCalculator
>>> from rootstock.testing import fake_environment
>>> RootstockCalculator("reference", environment=fake_environment())  # doctest: +SKIP

A fake evaluator needs neither environment nor process; it tests code that evaluates structures:

>>> from rootstock.testing import FakeEvaluator
>>> evaluator = FakeEvaluator({"energy": 1.0})
>>> [results["energy"] for results in evaluator.evaluate(structures, "energy")]  # doctest: +SKIP

A scripted model, without environment and process too, tests code that uses the protocol:

>>> from rootstock.testing import ScriptedModel, connected
>>> with connected(ScriptedModel({"energy": 1.0})) as server:  # doctest: +SKIP
...     server.evaluate_one(structure, ["energy"])
"""

from __future__ import annotations

import contextlib
import copy
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import (
    CalculationError,
    ModelError,
    PropertyMissingError,
    ProtocolError,
    RootstockError,
    StructureError,
)
from ..properties import check_results, property_names, require_properties
from ..protocol.client import run_client
from ..protocol.frames import Connection
from ..protocol.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy as np

    from ..evaluation.evaluator import Outcome
    from ..protocol.client import ReceivedStructure
    from ..protocol.data import Results, Structure

__all__ = ["FakeEvaluator", "ScriptedModel", "connected", "fake_environment"]


class FakeEvaluator:
    """An evaluator that returns given results in this process and records what it was asked.

    Parameters
    ----------
    results : mapping, or callable
        The results of every structure, or a function of the Structure that returns them or raises.
        They are copied, and checked as those of a worker are: energy, forces and stress have to be
        finite and of the right shape, and properties that were asked for have to be there.
    provenance : object, optional
        JSON data, or a :class:`rootstock.Provenance`.

    Attributes
    ----------
    calls : list of tuple
        The Structure and the properties, a tuple of str, of each evaluation.
    closed : bool
        Whether :meth:`close` was called.
    """

    def __init__(
        self,
        results: Mapping[str, Any] | Callable[[Structure], Mapping[str, Any]],
        provenance: Any = None,
    ) -> None:
        self.calls: list[tuple[Structure, tuple[str, ...]]] = []
        self.closed = False
        self._provenance = {"model": "fake"} if provenance is None else provenance
        self._results = results

    @property
    def provenance(self) -> Any:
        """As given; by default ``{"model": "fake"}``."""
        return self._provenance

    def evaluate(
        self, structures: Iterable[Structure], properties: Iterable[str]
    ) -> Iterator[Outcome]:
        """Yield the results of each structure, or the error that its evaluation raised.

        Exceptions that are not Rootstock's become a :class:`rootstock.ModelError`, as in a worker.

        Raises
        ------
        RootstockError
            One that does not belong to a structure, such as a :class:`rootstock.StartupError`.
        """
        wanted = property_names(properties)
        for structure in structures:
            self.calls.append((structure, wanted))
            try:
                outcome: Outcome = self._evaluate_one(structure, wanted)
            except (CalculationError, PropertyMissingError, StructureError) as error:
                outcome = error
            yield outcome

    def _evaluate_one(self, structure: Structure, wanted: tuple[str, ...]) -> Results:
        try:
            results = self._results(structure) if callable(self._results) else self._results
        except RootstockError:
            raise
        except Exception as error:
            msg = f"{type(error).__name__}: {error}"
            raise ModelError(msg, f"{type(error).__module__}.{type(error).__name__}") from error
        checked: Results = copy.deepcopy(dict(results))
        check_results(checked, len(structure.positions))
        require_properties(checked, wanted)
        return checked

    def close(self) -> None:
        """Note that it was called."""
        self.closed = True


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

    def evaluate_together(
        self, structures: Sequence[ReceivedStructure], properties: list[str]
    ) -> list[Mapping[str, Any] | Exception]:
        """Record a call for each structure and return the results or the exceptions."""
        outcomes: list[Mapping[str, Any] | Exception] = []
        for inputs, positions, cell in structures:
            self.set_fixed_inputs(*inputs)
            try:
                outcomes.append(dict(self.evaluate(positions, cell, properties)))
            except Exception as error:  # noqa: BLE001  what the script raises
                outcomes.append(error)
        return outcomes


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
