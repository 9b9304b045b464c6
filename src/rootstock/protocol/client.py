"""The client: the worker's loop over its connection to the main process."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from ..errors import PeerClosedError, ProtocolError
from . import messages as m
from .frames import MAX_PAYLOAD
from .values import decode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Protocol, Union

    from .frames import Buffers, Connection

    class Model(Protocol):
        """The model that a client evaluates."""

        def load(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
            """Load the model; return the report, which names ``implemented_properties``."""
            ...

        def set_fixed_inputs(self, arrays: Mapping[str, np.ndarray], info: dict[Any, Any]) -> None:
            """Set the arrays of :class:`rootstock.protocol.data.FixedInputs` and ``info``."""
            ...

        def evaluate(
            self, positions: np.ndarray, cell: np.ndarray, properties: list[str]
        ) -> Mapping[str, Any]:
            """Return all results of the calculator by property name, in ASE's units.

            Parameters
            ----------
            positions : ndarray of float64, shape (n, 3)
                In Å. The same array in every step, overwritten by the next one.
            cell : ndarray of float64, shape (3, 3)
                Lattice vectors as rows, in Å; likewise overwritten.
            properties : list of str
                The requested properties.
            """
            ...

        def evaluate_together(
            self, structures: Sequence[ReceivedStructure], properties: list[str]
        ) -> Sequence[Union[Mapping[str, Any], Exception]]:
            """Return the results or the error of each structure; raise if all of them failed."""
            ...


#: Fixed inputs as received: per-atom arrays (with ``pbc``) and ``info``.
ReceivedInputs = tuple[dict[str, Any], dict[Any, Any]]
#: Fixed inputs, positions (n, 3) and cell (3, 3), float64, Å.
ReceivedStructure = tuple[ReceivedInputs, np.ndarray, np.ndarray]

__all__ = ["Client", "ReceivedStructure", "is_out_of_memory", "run_client"]


def run_client(connection: Connection, model: Model) -> None:
    """Answer until EXIT or until the server closes the connection.

    Exceptions of the model are sent to the server; the loop goes on.

    Raises
    ------
    ProtocolError
        The server sent something that is not the protocol.
    """
    try:
        Client(connection, model).run()
    except PeerClosedError:
        return


class Client:
    """The worker's side of the protocol; keeps the buffers of one step."""

    def __init__(self, connection: Connection, model: Model) -> None:
        self._connection = connection
        self._model = model
        self._ready = False
        self._properties: list[str] = []
        self._layout: tuple[Any, Any] = ((), {})
        self._fresh: Optional[ReceivedInputs] = None
        self._expect(0)

    def _expect(self, natoms: int) -> None:
        """Make buffers for steps of `natoms` atoms, so that one read receives a whole step."""
        self._positions = np.empty((natoms, 3))
        self._cell = np.empty((3, 3))
        self._count = bytearray(m.INTEGER.size)
        self._request = bytearray(len(m.GETFORCE) + m.PROPERTIES.size)
        self._step_buffers: Buffers = [
            bytearray(len(m.POSDATA)),
            self._cell.reshape(-1).view(np.uint8).data,
            self._count,
            self._positions.reshape(-1).view(np.uint8).data,
            self._request,
        ]

    def run(self) -> None:
        """Answer until EXIT."""
        while True:
            word = self._connection.read_record(m.POSDATA, self._step_buffers)
            if word == m.POSDATA:
                self._answer_step()
            elif word == m.INIT:
                self._answer_init()
            elif word == m.BATCH:
                self._answer_batch()
            elif word == m.STATUS:
                self._connection.send([m.READY if self._ready else m.NEEDINIT])
            elif word == m.EXIT:
                return
            else:
                msg = f"the server sent {word!r}, which is not a message of the protocol"
                raise ProtocolError(msg)

    def _answer_init(self) -> None:
        document = self._read_init()
        if "load" in document:
            self._load(decode(document["load"]))
        else:
            self._fresh = self._read_fixed_inputs(document)
            self._expect(len(self._fresh[0]["numbers"]))

    def _read_init(self) -> dict[str, Any]:
        self._connection.read(m.INTEGER.size)  # i-PI's bead index
        document = m.read_json(self._connection, "an INIT")
        if not isinstance(document, dict) or document.get("rootstock") != m.EXTENSION_VERSION:
            msg = (
                "the main process uses another version of the protocol: restart it, so that both "
                "processes run from one installation of Rootstock"
            )
            raise ProtocolError(msg)
        return document

    def _load(self, config: Mapping[str, Any]) -> None:
        try:
            report = self._model.load(config)
        except Exception as error:  # noqa: BLE001  every exception of a model is sent to the server
            self._connection.send([failure(error)])
            return
        self._properties = list(report["implemented_properties"])
        self._ready = True
        self._connection.send([m.json_message(m.READY, dict(report))])

    def _read_fixed_inputs(self, document: dict[str, Any]) -> ReceivedInputs:
        layout = m.Layout.parse(document.get("layout"))
        payload = np.empty(layout.nbytes, np.uint8)
        self._connection.read_into([payload.data])
        arrays = layout.views(payload)
        if "numbers" not in arrays or "pbc" not in arrays:
            msg = "the server sent fixed inputs without numbers or pbc"
            raise ProtocolError(msg)
        return arrays, decode(document.get("info", {}))

    def _answer_step(self) -> None:
        (natoms,) = m.INTEGER.unpack(self._count)
        word = bytes(self._request[: len(m.GETFORCE)])
        if natoms != len(self._positions) or word != m.GETFORCE:
            msg = f"the server sent {natoms} atoms, but fixed inputs of {len(self._positions)}"
            raise ProtocolError(msg)
        try:
            if self._fresh is not None:  # an error here is the reply to this step
                self._model.set_fixed_inputs(*self._fresh)
                self._fresh = None
            results = self._model.evaluate(self._positions, self._cell, self._requested())
            reply = self._pack(results)
        except Exception as error:  # noqa: BLE001  every exception of a model is sent to the server
            reply = [failure(error)]
        self._connection.send(reply)

    def _answer_batch(self) -> None:
        """Receive all structures, then evaluate them and answer one by one."""
        head = self._connection.read(m.BATCH_HEAD.size)
        count, mask, together, nbytes = m.BATCH_HEAD.unpack(head)
        if count < 1 or not 0 <= nbytes <= MAX_PAYLOAD:
            msg = f"the server announced a batch of {count} structures and {nbytes} bytes"
            raise ProtocolError(msg)
        self._connection.read_ahead(nbytes)
        structures: list[ReceivedStructure] = []
        for _ in range(count):
            structures.append(self._read_structure(structures[-1][0] if structures else None))
        self._fresh = None
        self._expect(0)  # an INIT precedes the next step
        properties = self._named(mask)
        if together:
            self._evaluate_together(structures, properties)
        else:
            self._evaluate_one_by_one(structures, properties)

    def _read_structure(self, last: Optional[ReceivedInputs]) -> ReceivedStructure:
        word = self._connection.read_header()
        if word == m.INIT:
            last = self._read_fixed_inputs(self._read_init())
            word = self._connection.read_header()
        cell = m.read_floats(self._connection, 9).reshape(3, 3)
        natoms = m.read_integer(self._connection)
        if word != m.POSDATA or last is None or natoms != len(last[0]["numbers"]):
            msg = f"the server sent {word!r} with {natoms} atoms in a batch"
            raise ProtocolError(msg)
        return last, m.read_floats(self._connection, 3 * natoms).reshape(natoms, 3), cell

    def _evaluate_one_by_one(
        self, structures: Sequence[ReceivedStructure], properties: list[str]
    ) -> None:
        current: Optional[ReceivedInputs] = None
        for inputs, positions, cell in structures:
            try:
                if inputs is not current:
                    current = None  # unknown if the model raises
                    self._model.set_fixed_inputs(*inputs)
                    current = inputs
                reply = self._pack(self._model.evaluate(positions, cell, properties))
            except Exception as error:  # noqa: BLE001  sent to the server
                reply = [failure(error)]
            self._connection.send(reply)

    def _evaluate_together(
        self, structures: Sequence[ReceivedStructure], properties: list[str]
    ) -> None:
        try:
            outcomes = self._model.evaluate_together(structures, properties)
        except Exception as error:  # noqa: BLE001  sent to the server
            self._connection.send([failure(error, batch=True)])
            return
        for outcome in outcomes:
            try:
                reply = self._reply(outcome)
            except Exception as error:  # noqa: BLE001  results that can't be packed
                reply = [failure(error)]
            self._connection.send(reply)

    def _reply(self, outcome: Union[Mapping[str, Any], Exception]) -> Buffers:
        return [failure(outcome)] if isinstance(outcome, Exception) else self._pack(outcome)

    def _requested(self) -> list[str]:
        (mask,) = m.PROPERTIES.unpack_from(self._request, len(m.GETFORCE))
        return self._named(mask)

    def _named(self, mask: int) -> list[str]:
        return [name for bit, name in enumerate(self._properties) if mask >> bit & 1]

    def _pack(self, results: Mapping[str, Any]) -> Buffers:
        entries, payload, others = m.describe(results)
        reply: Buffers = [m.FORCEREADY, *payload]
        if (entries, others) != self._layout:
            self._layout = (entries, others)
            reply.insert(0, m.json_message(m.LAYOUT, {"layout": entries, "values": others}))
        return reply


def failure(error: BaseException, *, batch: bool = False) -> bytes:
    """Return FAILED with type, message and traceback of an exception of the model.

    With `batch` it stands for all replies of a batch. Rootstock's own frames are cut off from the
    top, so that the traceback starts in the model.
    """
    frames = error.__traceback__
    while frames is not None and _is_rootstocks(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    shown = error.with_traceback(frames or error.__traceback__)
    kind = type(error)
    return m.json_message(
        m.FAILED,
        {
            "type": f"{kind.__module__}.{kind.__qualname__}",
            "bases": [base.__name__ for base in kind.__mro__],
            "message": _text(error),
            "traceback": "".join(traceback.format_exception(kind, shown, shown.__traceback__)),
            "out_of_memory": is_out_of_memory(error),
            "batch": batch,
        },
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Tell if an exception says that memory ran out: Python's, PyTorch's, JAX's, TensorFlow's."""
    name, text = type(error).__name__, _text(error)
    return (
        isinstance(error, MemoryError)
        or name in ("OutOfMemoryError", "ResourceExhaustedError")
        or any(words in text for words in _OUT_OF_MEMORY)
    )


#: In the texts of exceptions of a general type.
_OUT_OF_MEMORY = (
    "out of memory",
    "RESOURCE_EXHAUSTED",
    "Failed to allocate",
    "DefaultCPUAllocator: can't allocate memory",
)
_PACKAGE = __file__.rsplit("protocol", 1)[0]


def _is_rootstocks(filename: str) -> bool:
    """Return whether a frame is Rootstock's; a catalogue file belongs to the model."""
    return filename.startswith(_PACKAGE) and not filename.endswith("_env.py")


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001  a broken __str__ must not hide the error
        return f"(its message can't be shown: {type(second).__name__})"
