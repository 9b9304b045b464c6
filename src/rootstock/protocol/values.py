"""JSON for values that plain JSON can't hold: ``Atoms.info``, ``setup_kwargs``, other results.

The text is plain JSON. Types that JSON lacks are objects with one reserved key::

    {"#array": [dtype, shape, base64]}   numpy array or (shape null) numpy scalar
    {"#tuple": [...]}  {"#bytes": base64}  {"#complex": [re, im]}
    {"#float": "nan" | "inf" | "-inf"}
    {"#dict": [[key, value], ...]}       a mapping whose keys aren't all plain strings

Nothing is evaluated: object arrays and classes are refused. Floats are written with :func:`repr`,
so they are read back bit for bit.
"""

from __future__ import annotations

import base64
import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UntransferableError", "decode", "dtype_of", "dumps", "encode", "encode_info", "loads"]

#: The forms of :attr:`numpy.dtype.str` for numbers, text, times and raw bytes. NumPy itself accepts
#: many more and evaluates parts of them.
_DTYPE = re.compile(r"[<>|](?:[biufcSUV]\d{1,9}|[mM]8(?:\[\d{0,9}[A-Za-z]{1,2}\])?)")
#: Deeper nesting than this is refused: JSON parsers recurse.
MAX_DEPTH = 64


class UntransferableError(TypeError):
    """A value of a type that can't be sent to another process."""


def dumps(value: Any) -> bytes:
    """Return plain JSON of an already encoded `value`: compact, ASCII, keys sorted."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()


def loads(data: Any, name: str) -> Any:
    """Parse JSON that came over the wire; `name` says in errors what it should have been.

    Raises
    ------
    ProtocolError
        It is not JSON.
    """
    try:
        return json.loads(bytes(data))
    except (ValueError, RecursionError) as error:
        msg = f"the peer sent {name} that is not JSON: {error}"
        raise ProtocolError(msg) from error


def encode_info(info: dict[Any, Any]) -> bytes:
    """Return ``Atoms.info`` as canonical bytes.

    Entries that can't be sent (for example an ``ase.spacegroup.Spacegroup``) are left out.
    """
    if not info:
        return b"{}"
    kept = {}
    for key, value in info.items():
        try:
            kept[key] = encode(value)
        except UntransferableError:
            continue
    return dumps({"#dict": [[encode(key), value] for key, value in kept.items()]})


def encode(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911  one for each kind
    """Return `value` as plain JSON data.

    Raises
    ------
    UntransferableError
        It holds a value that can't be sent to another process, or is nested too deeply.
    """
    if depth > MAX_DEPTH:
        msg = f"nested more than {MAX_DEPTH} deep"
        raise UntransferableError(msg)
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"#float": repr(value)}
    if type(value) is complex:
        return {"#complex": [encode(value.real), encode(value.imag)]}
    if isinstance(value, (np.ndarray, np.generic)):
        return _encode_array(value)
    if isinstance(value, bytes):
        return {"#bytes": base64.b64encode(value).decode()}
    if type(value) is list:
        return [encode(item, depth + 1) for item in value]
    if type(value) is tuple:
        return {"#tuple": [encode(item, depth + 1) for item in value]}
    if isinstance(value, dict):
        return _encode_mapping(value, depth)
    msg = f"a {type(value).__module__}.{type(value).__qualname__} can't be sent to another process"
    raise UntransferableError(msg)


def _encode_array(value: Any) -> Any:
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.names or not array.dtype.itemsize:
        msg = f"an array of dtype {array.dtype} can't be sent to another process"
        raise UntransferableError(msg)
    shape = list(array.shape) if isinstance(value, np.ndarray) else None
    raw = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {"#array": [array.dtype.str, shape, raw]}


def _encode_mapping(value: dict[Any, Any], depth: int) -> Any:
    if all(type(key) is str and not key.startswith("#") for key in value):
        return {key: encode(item, depth + 1) for key, item in value.items()}
    return {"#dict": [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in value.items()]}


def decode(data: Any) -> Any:
    """Undo :func:`encode`.

    Raises
    ------
    ProtocolError
        Reserved keys are used in a way that :func:`encode` does not, or it is nested too deeply.
    """
    try:
        return _decode(data)
    except RecursionError as error:  # some JSON parsers go deeper than Python
        msg = "the peer sent a value that is nested too deeply"
        raise ProtocolError(msg) from error


def _decode(data: Any) -> Any:
    if isinstance(data, list):
        return [_decode(item) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        (key, item), *_ = data.items()
        if key in _DECODERS:
            try:
                return _DECODERS[key](item)
            except (TypeError, ValueError, LookupError, OverflowError) as error:
                msg = f"the peer sent a malformed {key!r} value: {error}"
                raise ProtocolError(msg) from error
    return {key: _decode(item) for key, item in data.items()}


def dtype_of(text: Any) -> np.dtype[Any]:
    """Return the dtype that :attr:`numpy.dtype.str` describes.

    Raises
    ------
    TypeError, ValueError
        It is not a dtype, or one that is not allowed in messages.
    """
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        msg = f"{text!r:.40} is not a dtype that messages may have"
        raise ValueError(msg)
    return np.dtype(text)


def _decode_array(item: Any) -> Any:
    dtype, shape, raw = item
    array = np.frombuffer(base64.b64decode(raw, validate=True), dtype_of(dtype)).copy()
    return array[0] if shape is None else array.reshape(shape)


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "#array": _decode_array,
    "#tuple": lambda item: tuple(_decode(part) for part in item),
    "#bytes": lambda item: base64.b64decode(item, validate=True),
    "#complex": lambda item: complex(*(_decode(part) for part in item)),
    "#float": float,
    "#dict": lambda item: {_decode(key): _decode(value) for key, value in item},
}
