"""The direct arm: the same calls without Rootstock, inside the model's own environment.

Started by :mod:`benchmarks.overhead` with the environment's Python. Reads a JSON object a line:
the first names file, argument and threads; each further one a structure and a seed.
Answers each with the seconds that one ``get_forces()`` took.
"""

import importlib.util
import json
import os
import sys
import time


def supercell(natoms, formula):
    """Return copper (natoms a multiple of 4) or rock salt (of 8), as cubic as possible."""
    from ase.build import bulk

    lattice = {"Cu": ("fcc", 3.6), "NaCl": ("rocksalt", 5.64)}[formula]
    unit = bulk(formula, *lattice, cubic=True)
    cells, shape = natoms // len(unit), [1, 1, 1]
    for axis in (0, 1, 2):
        edge = round(cells ** (1 / (3 - axis)))
        while cells % edge:
            edge -= 1
        shape[axis], cells = edge, cells // edge
    atoms = unit * shape
    if len(atoms) != natoms:
        msg = f"{natoms} is not a multiple of {len(unit)}"
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
            atoms = supercell(request["natoms"], request["formula"])
            atoms.calc = calc
        wire.write(f"{timed(atoms, request['seed'])!r}\n")


if __name__ == "__main__":
    main()
