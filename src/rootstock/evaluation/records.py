"""Results, errors and structures as bytes: exact, compact, and without pickle.

The bytes are a length (8 bytes, little-endian), JSON that describes the arrays and holds all other
values, and the raw arrays. Dtypes, shapes and values come back bit for bit.
"""

from __future__ import annotations

import contextlib
from traceback import format_exception
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from ase import Atoms
from ase.constraints import dict2constraint

from .. import errors
from ..errors import OutputError, ProtocolError, RemoteTracebackError, RootstockError
from ..protocol.messages import Layout, describe
from ..protocol.values import UntransferableError, decode, dumps, encode, encode_info, loads

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .evaluator import Outcome

__all__ = [
    "constraint_documents",
    "pack",
    "pack_atoms",
    "pack_outcome",
    "unpack",
    "unpack_atoms",
    "unpack_outcome",
]

_LENGTH = 8
#: The only name in the record of an error; no result has it.
_ERROR = "#error"
_CLASSES: dict[str, type[RootstockError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, RootstockError)
}
#: Prefix of the names of per-atom arrays.
_ARRAY = "array."


def pack(values: Mapping[str, Any]) -> bytes:
    """Return a mapping as bytes; values of types that no other process could use are left out."""
    entries, payload, others = describe(values)
    head = dumps({"layout": entries, "values": others, "order": list(values)})
    return b"".join([len(head).to_bytes(_LENGTH, "little"), head, *payload])


def unpack(data: bytes) -> dict[str, Any]:
    """Return what :func:`pack` was given; arrays are writable copies.

    Raises
    ------
    OutputError
        The bytes are damaged.
    """
    try:
        length = int.from_bytes(data[:_LENGTH], "little")
        head = loads(data[_LENGTH : _LENGTH + length], "a record")
        layout = Layout.parse(head["layout"])
        payload = np.frombuffer(data, np.uint8, layout.nbytes, _LENGTH + length).copy()
        values = {**layout.views(payload), **decode(head["values"])}
        return {name: values[name] for name in head["order"] if name in values}
    except (KeyError, TypeError, ValueError, ProtocolError) as error:
        msg = f"a record of results is damaged ({type(error).__name__}: {error})"
        raise OutputError(msg) from error


def pack_outcome(outcome: Outcome) -> bytes:
    """Return results or an error as bytes.

    Of an error these are its class, message, attributes and the traceback of its cause.
    """
    if not isinstance(outcome, RootstockError):
        return pack(outcome)
    document = {
        "classes": [kind.__name__ for kind in type(outcome).__mro__],
        "message": str(outcome),
        "attributes": _transferable(vars(outcome)),
        "traceback": _traceback(outcome.__cause__),
    }
    return pack({_ERROR: document})


def _transferable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    kept = {}
    for name, value in attributes.items():
        with contextlib.suppress(UntransferableError):
            encode(value)
            kept[name] = value
    return kept


def _traceback(cause: Optional[BaseException]) -> str:
    if isinstance(cause, RemoteTracebackError):
        return str(cause.args[0]) if cause.args else ""
    return "" if cause is None else "".join(format_exception(cause))


def unpack_outcome(data: bytes) -> Outcome:
    """Return the results or the error, which has the class and attributes that it had.

    An error of a newer version of Rootstock has the nearest class that this version knows.

    Raises
    ------
    OutputError
        The bytes are damaged.
    """
    values = unpack(data)
    if _ERROR not in values:
        return values
    document = values[_ERROR]
    kind = next(found for name in document["classes"] if (found := _CLASSES.get(name)))
    error = kind(document["message"])  # further arguments are optional: a test holds that
    vars(error).update(document["attributes"])
    if document["traceback"]:
        error.__cause__ = RemoteTracebackError(document["traceback"])
    return error


def pack_atoms(atoms: Atoms) -> bytes:
    """Return Atoms as bytes; entries of ``info`` that no other process could use are left out."""
    values: dict[str, Any] = {f"{_ARRAY}{name}": array for name, array in atoms.arrays.items()}
    values["cell"] = atoms.cell.array
    values["pbc"] = np.array(atoms.pbc, np.uint8)
    values["celldisp"] = np.array(atoms.get_celldisp())
    values["info"] = loads(encode_info(atoms.info), "info")
    values["constraints"] = constraint_documents(atoms)
    return pack(values)


def constraint_documents(atoms: Atoms) -> list[Any]:
    """Return the constraints as ASE writes them, without those that it can't write or read."""
    kept = []
    for constraint in atoms.constraints:
        try:
            document = constraint.todict()
            dict2constraint(decode(encode(document)))
        except Exception:  # noqa: BLE001, S112  classes of users, too
            continue
        kept.append(document)
    return kept


def unpack_atoms(data: bytes) -> Atoms:
    """Return new Atoms."""
    values = unpack(data)
    arrays = {n.removeprefix(_ARRAY): v for n, v in values.items() if n.startswith(_ARRAY)}
    atoms = Atoms(
        numbers=arrays.pop("numbers"),
        positions=arrays.pop("positions"),
        cell=values["cell"],
        pbc=values["pbc"].astype(bool),
        celldisp=values["celldisp"],
        info=decode(values["info"]),
        constraint=[dict2constraint(document) for document in values["constraints"]],
    )
    atoms.arrays.update(arrays)
    return atoms
