"""The server: the main process's side of the connection to a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from ..errors import ModelError, PropertyMissingError, ProtocolError, RemoteTracebackError
from . import messages as m
from .values import decode, encode, loads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .data import FixedInputs, Results, Structure
    from .frames import Buffers, Connection

__all__ = ["Server"]


class Server:
    """Sends structures to a worker of the same version and receives results.

    Parameters
    ----------
    connection : Connection
        Connection to a worker that has not been sent anything yet.

    Notes
    -----
    Not thread-safe: the caller serialises. After any exception but :class:`ModelError`, the server
    is usable only if :attr:`synchronised` is true, or after :meth:`discard` of a pending reply.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._bits: dict[str, int] = {}
        self._requests: dict[tuple[str, ...], bytes] = {}
        self._fixed_inputs: Optional[FixedInputs] = None
        self._layout = m.Layout.of(())
        self._others: dict[str, Any] = {}
        self._word = bytearray(len(m.FORCEREADY))
        #: Whether a request was written in full and nothing of its reply was read.
        self.reply_pending = False
        #: Whether the next request may be written: no message was sent or received in part.
        self.synchronised = True

    def load(self, config: Mapping[str, Any], deadline: Optional[float] = None) -> dict[str, Any]:
        """Have the worker load a model; return its report.

        Raises
        ------
        ModelError
            Loading raised inside the worker.
        """
        document = {"rootstock": m.EXTENSION_VERSION, "load": encode(dict(config))}
        self._connection.deadline = deadline
        self._write([m.init_message(document)])
        word = self._await(deadline)
        if word != m.READY:
            self._raise(word)
        report = _mapping(m.read_json(self._connection, "a report"), "implemented_properties")
        self.synchronised = True
        names = report["implemented_properties"][: m.MAX_PROPERTIES]
        self._bits = {name: 1 << bit for bit, name in enumerate(names)}
        return report

    def evaluate_one(
        self,
        structure: Structure,
        properties: Iterable[str],
        deadline: Optional[float] = None,
    ) -> Results:
        """Evaluate one structure; one gathered write, one gathered reply.

        Parameters
        ----------
        structure : Structure
            Its arrays are read, not kept; the fixed inputs are kept and must not change.
        properties : iterable of str
            ASE's names of the properties to ask for. The model may return more.
        deadline : float, optional
            Absolute, as :func:`time.monotonic`.

        Returns
        -------
        dict
            All results of the model's calculator, in ASE's units, unchecked. The arrays share one
            buffer, which is new in each call.

        Raises
        ------
        ModelError
            The model raised.
        PropertyMissingError
            The model does not have the property.
        CallTimeoutError, PeerClosedError, ProtocolError
            The connection can't be used any more, unless :attr:`reply_pending`.
        """
        positions = structure.positions
        buffers: Buffers = [
            m.POSDATA,
            structure.cell.reshape(-1).view(np.uint8).data,
            m.INTEGER.pack(len(positions)),
            positions.reshape(-1).view(np.uint8).data,
            self._request(tuple(properties)),
        ]
        # compared by value: copies of a calculator take turns, for example images of a NEB
        if not structure.fixed_inputs.same_as(self._fixed_inputs):
            buffers = _fixed_inputs_message(structure.fixed_inputs) + buffers
        self._fixed_inputs = None  # unknown until the worker has replied
        self._connection.deadline = deadline
        self._write(buffers)
        results = self._results(deadline)
        self._fixed_inputs = structure.fixed_inputs
        return results

    def discard(self, deadline: float) -> None:
        """Read and drop the reply that is pending after an interrupted call."""
        try:
            self._results(deadline)
        except (ModelError, PropertyMissingError):
            return

    def exit(self) -> None:
        """Tell the worker to end, without waiting for it to read that."""
        self._connection.deadline = 0.0
        self._connection.send([m.EXIT])

    def _request(self, properties: tuple[str, ...]) -> bytes:
        known = self._requests.get(properties)
        if known is None:
            mask = sum(self._bits[name] for name in set(properties) & set(self._bits))
            known = self._requests[properties] = m.GETFORCE + m.PROPERTIES.pack(mask)
        return known

    def _write(self, buffers: Buffers) -> None:
        self.synchronised = False
        self._connection.send(buffers)
        self.reply_pending = True

    def _await(self, deadline: Optional[float], payload: Any = None) -> bytes:
        """Wait for a reply; read its header, and `payload` with it if it is FORCEREADY."""
        self._connection.deadline = deadline
        self._connection.wait(deadline)
        self.reply_pending = False
        buffers = [self._word] if payload is None else [self._word, payload]
        return self._connection.read_record(m.FORCEREADY, buffers)

    def _results(self, deadline: Optional[float]) -> Results:
        payload = np.empty(self._layout.nbytes, np.uint8)
        word = self._await(deadline, payload.data)
        if word == m.LAYOUT:
            payload = self._relayout()
            word = self._connection.read_record(m.FORCEREADY, [self._word, payload.data])
        if word != m.FORCEREADY:
            self._raise(word)
        self.synchronised = True
        results = self._layout.views(payload)
        if self._others:
            results.update(decode(self._others))
        return results

    def _relayout(self) -> np.ndarray:
        document = m.read_json(self._connection, "a layout")
        if not isinstance(document, dict) or not isinstance(document.get("values"), dict):
            msg = "the worker sent a malformed layout"
            raise ProtocolError(msg)
        self._layout = m.Layout.parse(document.get("layout"))
        self._others = document["values"]
        return np.empty(self._layout.nbytes, np.uint8)

    def _raise(self, word: bytes) -> None:
        if word != m.FAILED:
            msg = f"the worker sent {word!r}, which is not a reply"
            raise ProtocolError(msg)
        failed = m.read_json(self._connection, "an error")
        failed = _mapping(failed, "type", "message", "traceback", "bases")
        self.synchronised = True
        kind, text = str(failed["type"]), str(failed["message"])
        cause = RemoteTracebackError(str(failed["traceback"]))
        if "PropertyNotImplementedError" in failed["bases"]:
            raise PropertyMissingError(text) from cause
        msg = f"{kind.removeprefix('builtins.')}: {text}"
        raise ModelError(msg, kind) from cause


def _mapping(document: Any, *names: str) -> dict[str, Any]:
    """Return `document` if it is an object with these entries, of which some are lists of str."""
    lists = ("implemented_properties", "bases")
    if (
        not isinstance(document, dict)
        or not all(name in document for name in names)
        or not all(
            isinstance(document[name], list) and all(isinstance(i, str) for i in document[name])
            for name in names
            if name in lists
        )
    ):
        msg = f"the worker sent an object without {', '.join(names)}"
        raise ProtocolError(msg)
    return document


def _fixed_inputs_message(fixed_inputs: FixedInputs) -> Buffers:
    entries, payload, _ = m.describe(fixed_inputs.arrays)
    document = {
        "rootstock": m.EXTENSION_VERSION,
        "layout": entries,
        "info": loads(fixed_inputs.info, "info"),
    }
    return [m.init_message(document), *payload]
