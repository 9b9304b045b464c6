"""Calls a model directly, inside its environment and without the worker's loop.

``python -I direct_call.py DESCRIPTOR`` reads a request from stdin and writes lines to the file
descriptor: ``"ready"`` after the model was loaded, then one answer for each structure as soon as it
is there, so that a process that dies loses no earlier ones. All are JSON in the encoding of
``protocol/values.py``, which keeps dtypes, shapes and every bit; this script loads that module by
its path, as the worker does. Nothing else of Rootstock takes part: the file's ``setup()`` is run by
:mod:`runpy`, and ASE's ``get_property()`` is called. Python 3.9, standard library, NumPy and ASE.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import traceback
import types
from typing import TYPE_CHECKING, Any, TextIO

from ase import Atoms

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Evaluate each structure; write its results or the model's error."""
    stub = types.ModuleType("_rootstock")
    stub.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules[stub.__name__] = stub
    from _rootstock.protocol.values import decode, encode

    request = decode(json.load(sys.stdin))
    setup = runpy.run_path(request["file"], run_name="_rootstock_direct")["setup"]
    calculator = setup(request["argument"], request["device"], **request["options"])
    if request["threads"] is not None and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(request["threads"])
    with os.fdopen(int(sys.argv[1]), "w") as stream:
        _write(stream, "ready")
        for structure in request["structures"]:
            answer = _evaluate(calculator, _atoms(structure), request["properties"], encode)
            _write(stream, answer)


def _write(stream: TextIO, answer: Any) -> None:
    """Write one line; it is in the file when this returns."""
    stream.write(json.dumps(answer) + "\n")
    stream.flush()


def _atoms(structure: dict[str, Any]) -> Atoms:
    """Return Atoms with every per-atom array and ``info``."""
    arrays = dict(structure["arrays"])
    atoms = Atoms(
        numbers=arrays.pop("numbers"),
        positions=structure["positions"],
        cell=structure["cell"],
        pbc=arrays.pop("pbc"),
        info=structure["info"],
    )
    for name, array in arrays.items():
        atoms.set_array(name, array)
    return atoms


def _evaluate(
    calculator: Any, atoms: Atoms, properties: list[str], encode: Callable[[Any], Any]
) -> dict[str, Any]:
    """Return all results, encoded, or the model's error."""
    _empty_cache(calculator)
    atoms.calc = calculator
    results: dict[str, Any] = {}
    try:
        for name in properties:
            value = calculator.get_property(name, atoms)
            # encoded at once: some calculators overwrite the arrays of earlier results
            results.update(_encoded(getattr(calculator, "results", {}), encode))
            results.update(_encoded({name: value}, encode))
    except Exception as error:  # noqa: BLE001  whatever the model raises
        return {"error": _described(error)}
    return {"results": results}


def _described(error: Exception) -> dict[str, Any]:
    kind = type(error)
    try:
        message = str(error)
    except Exception as second:  # noqa: BLE001  a broken __str__ must not hide the error
        message = f"(its message can't be shown: {type(second).__name__})"
    return {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "bases": [base.__name__ for base in kind.__mro__],
        "message": message,
        "traceback": traceback.format_exc(),
    }


def _empty_cache(calculator: Any) -> None:
    """Make the calculator evaluate: ASE's caches ignore ``info``, tags and other arrays."""
    for part in (calculator, *getattr(getattr(calculator, "mixer", None), "calcs", ())):
        if hasattr(part, "reset"):
            part.reset()
        else:
            part.atoms, part.results = None, {}


def _encoded(values: dict[str, Any], encode: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the values that can be encoded, as JSON data."""
    encoded = {}
    for name, value in values.items():
        # a tensor is compared as the array that the worker sends
        plain = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        try:
            encoded[str(name)] = encode(plain)
        except TypeError:  # an object that can't be encoded
            continue
    return encoded


if __name__ == "__main__":
    main()
