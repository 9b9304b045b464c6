"""The direct arm: the same calls without Rootstock, inside the model's own environment.

Started by :mod:`benchmarks.overhead` with the environment's Python. Reads a JSON object a line:
the first names file, argument and threads; each further one the number of atoms and a seed.
Answers each with the seconds that one ``get_forces()`` took.
"""

import importlib.util
import json
import os
import sys
import time


def copper(natoms):
    """Return a supercell of fcc copper with that many atoms (a multiple of 4)."""
    from ase.build import bulk

    cells, shape = natoms // 4, [1, 1, 1]
    for axis in (0, 1, 2):  # the most cubic shape
        edge = round(cells ** (1 / (3 - axis)))
        while cells % edge:
            edge -= 1
        shape[axis], cells = edge, cells // edge
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * shape
    if len(atoms) != natoms:
        msg = f"{natoms} is not a multiple of 4"
        raise ValueError(msg)
    return atoms


def timed(atoms, seed):
    """Move the atoms a little; return the seconds of one ``get_forces()``."""
    import numpy as np

    atoms.positions += np.random.default_rng(seed).normal(scale=1e-3, size=(len(atoms), 3))
    started = time.perf_counter()
    atoms.get_forces()
    return time.perf_counter() - started


def main():
    wire = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the model prints must not be taken for an answer
    first = json.loads(sys.stdin.readline())
    spec = importlib.util.spec_from_file_location("_direct", first["file"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    calc = module.setup(first["argument"], "cpu")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(first["threads"])
    atoms = None
    wire.write("0\n")
    for line in sys.stdin:
        request = json.loads(line)
        if atoms is None or len(atoms) != request["natoms"]:
            atoms = copper(request["natoms"])
            atoms.calc = calc
        wire.write(f"{timed(atoms, request['seed'])!r}\n")


if __name__ == "__main__":
    main()
