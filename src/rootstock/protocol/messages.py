"""The messages: i-PI's, and our extension of them. Byte tables beside the code.

i-PI (little-endian, atomic units, cell vectors as columns)::

    STATUS      12                                     -> READY | NEEDINIT | HAVEDATA, 12 each
    INIT        12  i4 bead  i4 n  n bytes             no answer
    POSDATA     12  9 f8 cell  9 f8 inverse  i4 natoms  3N f8 positions
    GETFORCE    12                                     -> FORCEREADY
    FORCEREADY  12  f8 energy  i4 natoms  3N f8 forces  9 f8 virial  i4 n  n bytes
    EXIT        12                                     end

The extension, version 2 (ASE's units, unconverted; cell vectors as rows). It begins with an INIT
whose text is a JSON object with the key ``rootstock``; other programs never receive it::

    INIT        12  i4 0  i4 n  {"rootstock": 2, "load": {...}}
                                                       -> READY  12  i4 n  report | FAILED
    INIT        12  i4 0  i4 n  {"rootstock": 2, "layout": [...], "info": ...}  payload
                                                       no answer; the fixed inputs from now on
    POSDATA     12  9 f8 cell  i4 natoms  3N f8 positions
    GETFORCE    12  u8 properties (bit i: the i-th of the report's implemented properties)
                                                       -> [LAYOUT] FORCEREADY | FAILED
    LAYOUT      12  i4 n  {"layout": [...], "values": {...}}   when it differs from the last one
    FORCEREADY  12  payload
    FAILED      12  i4 n  {"type", "bases", "message", "traceback", "out_of_memory", "batch"}
    BATCH       12  i4 count  u8 properties  i4 together  i8 n  n bytes: count x ([INIT] POSDATA)
                                                       -> count x ([LAYOUT] FORCEREADY | FAILED)
    EXIT        12                                     end

A step is one gathered write (POSDATA and GETFORCE, preceded by INIT if the fixed inputs changed)
and one gathered reply. A *layout* is a list of ``[name, dtype, shape, kind]``; its payload is the
raw arrays one after the other, each starting at a multiple of 16 bytes.

A batch is one gathered write with many structures; the replies stream, one for each, in order.
INIT precedes a structure whose fixed inputs differ from those of the one before. With *together* 0
the structures are evaluated one by one; with 1 by the environment file's ``evaluate_batch()``, and
if that fails, one FAILED with ``"batch": true`` takes the place of all replies.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from ..errors import ProtocolError
from .frames import HEADER, MAX_JSON, MAX_PAYLOAD, Buffers, Connection, header
from .values import UntransferableError, dtype_of, dumps, encode, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "BATCH",
    "BATCH_HEAD",
    "EXIT",
    "EXTENSION_VERSION",
    "FAILED",
    "FORCEREADY",
    "GETFORCE",
    "HAVEDATA",
    "INIT",
    "INTEGER",
    "LAYOUT",
    "MAX_PROPERTIES",
    "NEEDINIT",
    "POSDATA",
    "PROPERTIES",
    "READY",
    "STATUS",
    "Layout",
    "describe",
    "init_message",
    "json_message",
    "read_floats",
    "read_integer",
    "read_json",
]

STATUS = header("STATUS")
READY = header("READY")
NEEDINIT = header("NEEDINIT")
HAVEDATA = header("HAVEDATA")
INIT = header("INIT")
POSDATA = header("POSDATA")
GETFORCE = header("GETFORCE")
FORCEREADY = header("FORCEREADY")
EXIT = header("EXIT")
LAYOUT = header("LAYOUT")
FAILED = header("FAILED")
BATCH = header("BATCH")

#: Version of the extension. Both sides come from one installation, so they normally agree.
EXTENSION_VERSION = 2

INTEGER = struct.Struct("<i")
PROPERTIES = struct.Struct("<Q")
#: Number of structures, properties, whether they are evaluated together, bytes that follow.
BATCH_HEAD = struct.Struct("<iQiq")
#: Properties that the bit mask of GETFORCE can name.
MAX_PROPERTIES = 64

_ALIGNMENT = 16
#: NumPy's own limit was 32 until version 2.
_MAX_DIMENSIONS = 32
_PADDING = bytes(_ALIGNMENT)
#: One entry of a layout: name, dtype, shape, kind.
Entry = tuple[str, str, tuple[int, ...], str]


def json_message(word: bytes, document: Any) -> bytes:
    """Return header, length and JSON text in one piece."""
    text = dumps(document)
    return word + INTEGER.pack(len(text)) + text


def init_message(document: Any) -> bytes:
    """Return the extension's INIT: i-PI's bead index, always 0, between header and text."""
    text = json_message(INIT, document)
    return text[:HEADER] + INTEGER.pack(0) + text[HEADER:]


def read_json(connection: Connection, name: str) -> Any:
    """Read a length (i4) and JSON text of that length.

    Parameters
    ----------
    connection : Connection
        To read from.
    name : str
        Name of the text with its article, such as ``"a report"``; for error messages.

    Raises
    ------
    ProtocolError
        The length is negative or too large (nothing is allocated then), or the text is not JSON.
    """
    nbytes = read_integer(connection)
    if not 0 <= nbytes <= MAX_JSON:
        msg = f"the peer announced {name} of {nbytes} bytes; at most {MAX_JSON} are accepted"
        raise ProtocolError(msg)
    return loads(connection.read(nbytes), name)


def read_integer(connection: Connection) -> int:
    """Read a 32-bit integer (i4)."""
    (value,) = INTEGER.unpack(connection.read(INTEGER.size))
    return int(value)


def read_floats(connection: Connection, count: int) -> np.ndarray:
    """Return the next `count` float64, shape ``(count,)``; the caller has checked `count`."""
    return np.frombuffer(connection.read(8 * count), np.float64)


@dataclass(frozen=True)
class Layout:
    """Names, dtypes, shapes and kinds of the arrays in a payload.

    Attributes
    ----------
    entries : tuple of (name, dtype, shape, kind)
        `kind` is ``"array"``, ``"scalar"`` (NumPy's) or ``"float"``, ``"int"`` (Python's).
    offsets : tuple of int
        Start of each array in the payload, in bytes.
    nbytes : int
        Length of the payload in bytes.
    """

    entries: tuple[Entry, ...]
    offsets: tuple[int, ...]
    nbytes: int

    @classmethod
    def of(cls, entries: tuple[Entry, ...]) -> Layout:
        """Return the layout of these entries, with offsets at multiples of 16 bytes."""
        offsets, position = [], 0
        for _, dtype, shape, _ in entries:
            offsets.append(position)
            size = np.dtype(dtype).itemsize
            for length in shape:
                size *= length
            position += size + -size % _ALIGNMENT
        return cls(entries, tuple(offsets), position)

    @classmethod
    def parse(cls, data: Any) -> Layout:
        """Check a layout that came over the wire, before any memory is taken for it.

        Raises
        ------
        ProtocolError
            It is malformed, or describes more than is accepted.
        """
        try:
            layout = cls.of(tuple(_entry(*entry) for entry in data))
        except (TypeError, ValueError) as error:
            msg = f"the peer sent a malformed layout: {error}"
            raise ProtocolError(msg) from error
        if layout.nbytes > MAX_PAYLOAD:
            msg = (
                f"the peer sent a layout of {layout.nbytes} bytes; at most {MAX_PAYLOAD} are "
                "accepted"
            )
            raise ProtocolError(msg)
        return layout

    def views(self, payload: np.ndarray) -> dict[str, Any]:
        """Return the arrays as views into `payload` (uint8), the scalars as values."""
        values: dict[str, Any] = {}
        for (name, dtype, shape, kind), offset in zip(self.entries, self.offsets):
            array: Any = np.ndarray(shape, dtype, payload, offset)
            values[name] = array if kind == "array" else _SCALARS[kind](array)
        return values


def _entry(name: Any, dtype: Any, shape: Any, kind: Any) -> Entry:
    """Check one entry of a layout that came over the wire."""
    numbers = dtype_of(dtype)
    plain = isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape)
    if not isinstance(name, str) or not plain or numbers.kind not in "biufc":
        msg = f"{name!r:.40} is not an array of numbers"
        raise ValueError(msg)
    # NumPy counts the bytes of an empty array as if its empty dimensions had one element
    size = math.prod(max(n, 1) for n in shape) * numbers.itemsize
    if len(shape) > _MAX_DIMENSIONS or size > MAX_PAYLOAD:
        msg = f"{name!r:.40} is too large"
        raise ValueError(msg)
    fits = {"float": "f", "int": "iu", "scalar": "biufc"}.get(str(kind), "")
    if kind != "array" and (shape or numbers.kind not in fits):
        msg = f"{name!r:.40} is not of kind {kind!r:.20}"
        raise ValueError(msg)
    return name, dtype, tuple(shape), kind


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "scalar": lambda array: array[()],
    "float": float,
    "int": int,
}


def describe(
    values: Mapping[str, Any],
) -> tuple[tuple[Entry, ...], Buffers, dict[str, Any]]:
    """Split results into the entries of a layout, a payload and values to send as JSON.

    Values that can't cross the wire are left out.

    Returns
    -------
    entries : tuple
        For :meth:`Layout.of`.
    payload : list of buffers
        The raw arrays with their padding, without a copy where they are contiguous.
    others : dict
        Encoded values that are neither arrays nor numbers.
    """
    entries: list[Entry] = []
    payload: Buffers = []
    others: dict[str, Any] = {}
    for name, value in values.items():
        numeric = _as_array(value)
        if numeric is None:
            try:
                others[str(name)] = encode(value)
            except UntransferableError:
                continue
        else:
            array, kind = numeric
            entries.append((str(name), array.dtype.str, array.shape, kind))
            if array.size:
                payload.append(array.reshape(-1).view(np.uint8).data)
            if array.nbytes % _ALIGNMENT:
                payload.append(_PADDING[: -array.nbytes % _ALIGNMENT])
    return tuple(entries), payload, others


def _as_array(value: Any) -> Union[tuple[np.ndarray, str], None]:
    """Return a contiguous array of plain numbers and its kind, or None for other types."""
    kind = "array"
    if type(value) is float:
        return np.array(value), "float"
    if type(value) is int and -(2**63) <= value < 2**63:
        return np.array(value, np.int64), "int"
    if hasattr(value, "detach"):  # a tensor: the caller can use its NumPy array
        value = value.detach().cpu().numpy()
    elif isinstance(value, np.generic):
        kind, value = "scalar", np.asarray(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
        return None
    # asarray keeps 0-d arrays 0-d, which ascontiguousarray does not
    return np.asarray(value, order="C"), kind
