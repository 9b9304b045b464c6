"""The server: the main process's side of the connection to a worker."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from ..errors import (
    BatchError,
    ModelError,
    OutOfMemoryError,
    PropertyMissingError,
    ProtocolError,
    RemoteTracebackError,
)
from . import messages as m
from .values import decode, encode, loads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
        self._replies_due = 0
        self._is_amid_message = False  # a message was sent or received in part

    @property
    def reply_pending(self) -> bool:
        """Whether a request was written in full and nothing of its next reply was read."""
        return self._replies_due > 0 and not self._is_amid_message

    @property
    def synchronised(self) -> bool:
        """Whether no reply is due and no message was sent or received in part."""
        return self._replies_due == 0 and not self._is_amid_message

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
        self._complete_reply()
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
        buffers = [*_positions_message(structure), self._request(tuple(properties))]
        # compared by value: copies of a calculator take turns, for example images of a NEB
        if not structure.fixed_inputs.same_as(self._fixed_inputs):
            buffers = _fixed_inputs_message(structure.fixed_inputs) + buffers
        self._fixed_inputs = None  # unknown until the worker has replied
        self._connection.deadline = deadline
        self._write(buffers)
        results = self._results(deadline)
        self._fixed_inputs = structure.fixed_inputs
        return results

    def send_batch(
        self,
        structures: Sequence[Structure],
        properties: Iterable[str],
        *,
        together: bool,
        deadline: Optional[float] = None,
    ) -> None:
        """Write one request with many structures; :meth:`next_results` returns their replies.

        Parameters
        ----------
        structures : sequence of Structure
            At least one. Their arrays are read, not kept.
        properties : iterable of str
            As for :meth:`evaluate_one`.
        together : bool
            Whether the environment file's ``evaluate_batch()`` evaluates them, else they are
            evaluated one by one.
        deadline : float, optional
            Of the write; absolute, as :func:`time.monotonic`.
        """
        body: Buffers = []
        last: Optional[FixedInputs] = None
        for structure in structures:
            if not structure.fixed_inputs.same_as(last):
                body += _fixed_inputs_message(structure.fixed_inputs)
                last = structure.fixed_inputs
            body += _positions_message(structure)
        mask = self._mask(tuple(properties))
        head = m.BATCH_HEAD.pack(len(structures), mask, together, sum(map(len, body)))
        self._fixed_inputs = None  # those of the last structure are not kept by the worker
        self._connection.deadline = deadline
        self._write([m.BATCH + head, *body], replies=len(structures))

    def next_results(self, deadline: Optional[float] = None) -> Results:
        """Return the results of the batch's next structure.

        Raises
        ------
        BatchError
            ``evaluate_batch()`` failed as a whole; no further reply of this batch follows.
        ModelError, PropertyMissingError, CallTimeoutError, PeerClosedError, ProtocolError
            As :meth:`evaluate_one`; after the first two the next reply follows.
        """
        return self._results(deadline)

    def discard(self, deadline: float) -> None:
        """Read and drop the replies that are pending after an interrupted call."""
        while self.reply_pending:
            with contextlib.suppress(ModelError, PropertyMissingError):
                self._results(deadline)

    def exit(self) -> None:
        """Tell the worker to end, without waiting for it to read that."""
        self._connection.deadline = 0.0
        self._connection.send([m.EXIT])

    def _request(self, properties: tuple[str, ...]) -> bytes:
        known = self._requests.get(properties)
        if known is None:
            known = m.GETFORCE + m.PROPERTIES.pack(self._mask(properties))
            self._requests[properties] = known
        return known

    def _mask(self, properties: tuple[str, ...]) -> int:
        return sum(self._bits[name] for name in set(properties) & set(self._bits))

    def _write(self, buffers: Buffers, replies: int = 1) -> None:
        self._is_amid_message = True
        self._connection.send(buffers)
        # in this order: an interrupt in between must not leave a request that looks answered
        self._replies_due = replies
        self._is_amid_message = False

    def _complete_reply(self, replies: int = 1) -> None:
        self._replies_due -= replies
        self._is_amid_message = False

    def _await(self, deadline: Optional[float], payload: Any = None) -> bytes:
        """Wait for a reply; read its header, and `payload` with it if it is FORCEREADY."""
        self._connection.deadline = deadline
        self._connection.wait(deadline)
        self._is_amid_message = True
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
        self._complete_reply()
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
        of_batch = failed.get("batch") is True
        self._complete_reply(self._replies_due if of_batch else 1)
        kind, text = str(failed["type"]), str(failed["message"])
        cause = RemoteTracebackError(str(failed["traceback"]))
        if "PropertyNotImplementedError" in failed["bases"] and not of_batch:
            raise PropertyMissingError(text) from cause
        msg = f"{kind.removeprefix('builtins.')}: {text}"
        out_of_memory = failed.get("out_of_memory") is True
        if of_batch:
            raise BatchError(msg, kind, out_of_memory=out_of_memory) from cause
        raise (OutOfMemoryError if out_of_memory else ModelError)(msg, kind) from cause


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


def _positions_message(structure: Structure) -> Buffers:
    return [
        m.POSDATA,
        structure.cell.reshape(-1).view(np.uint8).data,
        m.INTEGER.pack(len(structure.positions)),
        structure.positions.reshape(-1).view(np.uint8).data,
    ]


def _fixed_inputs_message(fixed_inputs: FixedInputs) -> Buffers:
    entries, payload, _ = m.describe(fixed_inputs.arrays)
    document = {
        "rootstock": m.EXTENSION_VERSION,
        "layout": entries,
        "info": loads(fixed_inputs.info, "info"),
    }
    return [m.init_message(document), *payload]
