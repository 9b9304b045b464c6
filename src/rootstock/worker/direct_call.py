"""A model by itself, inside its environment and without a worker's loop.

``python -I direct_call.py DESCRIPTOR`` reads a request from stdin and writes the answer to the file
descriptor; both are JSON in the encoding of ``protocol/values.py``, which this script loads by its
path, as the worker does. Standard library, NumPy and ASE.
"""

import json
import os
import runpy
import sys
import types

from ase import Atoms


def main() -> None:
    """Evaluate each structure with ASE's own getters; errors are answers, too."""
    stub = types.ModuleType("_rootstock")
    stub.__path__ = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    sys.modules[stub.__name__] = stub
    from _rootstock.protocol.values import decode, encode

    request = decode(json.load(sys.stdin))
    setup = runpy.run_path(request["file"], run_name="_rootstock_direct")["setup"]
    calculator = setup(request["argument"], request["device"], **request["options"])
    if request["threads"] is not None and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(request["threads"])
    answers = [
        _evaluate(calculator, structure, request["properties"], encode)
        for structure in request["structures"]
    ]
    with os.fdopen(int(sys.argv[1]), "w") as stream:
        json.dump(answers, stream)


def _evaluate(calculator, structure, properties, encode):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
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
    atoms.calc = calculator
    try:
        for name in properties:
            calculator.get_property(name, atoms)
    except Exception as error:  # noqa: BLE001  every exception of a model is an answer
        return {"error": f"{type(error).__name__}: {error}"}
    results = {}
    for name, value in dict(calculator.results).items():
        if hasattr(value, "detach"):  # a tensor, which the wire sends as an array
            value = value.detach().cpu().numpy()
        try:
            results[str(name)] = encode(value)
        except TypeError:
            continue
    return {"results": results}


if __name__ == "__main__":
    main()
