"""Evaluate a model inside its environment, without Rootstock.

``python -I direct.py REQUEST ANSWER``: both are pickles of plain dicts and arrays. The file is also
imported by the tests, so that both sides call the same functions.
"""

import copy
import importlib.util
import pickle
import sys

import numpy as np
from ase import Atoms


def load(path, argument, device, options):
    spec = importlib.util.spec_from_file_location("environment_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.setup(argument, device, **options)


def pack(atoms):
    return {
        "arrays": {name: array.copy() for name, array in atoms.arrays.items()},
        "cell": atoms.cell.array.copy(),
        "pbc": atoms.pbc.copy(),
        "info": dict(atoms.info),
    }


def unpack(packed):
    arrays = dict(packed["arrays"])
    atoms = Atoms(
        numbers=arrays.pop("numbers"),
        positions=arrays.pop("positions"),
        cell=packed["cell"],
        pbc=packed["pbc"],
        info=packed["info"],
    )
    for name, array in arrays.items():
        atoms.set_array(name, array)
    return atoms


def evaluate(atoms, calc, getters):
    """Call ASE's getters in turn; return their values and the calculator's results."""
    atoms.calc = calc
    values = {getter: getattr(atoms, getter)() for getter in getters}
    numeric = (int, float, np.ndarray, np.generic)
    # copied: some calculators (EMT) overwrite the arrays of their last results in the next call
    results = {k: copy.copy(v) for k, v in calc.results.items() if isinstance(v, numeric)}
    return {"getters": values, "results": results}


def drive(atoms, calc, settings):
    """Relax the atoms or run dynamics; return positions, cell and total energy of every step."""
    from ase import units
    from ase.filters import FrechetCellFilter
    from ase.md.verlet import VelocityVerlet
    from ase.optimize import BFGS

    atoms.calc = calc
    if settings["method"] == "md":
        thermal = np.sqrt(units.kB * 300 * atoms.get_masses())[:, None]
        atoms.set_momenta(thermal * np.random.default_rng(7).normal(size=atoms.positions.shape))
        runner = VelocityVerlet(atoms, timestep=2 * units.fs)
    else:
        target = FrechetCellFilter(atoms) if settings["method"] == "cell" else atoms
        runner = BFGS(target, logfile=None)
    steps = []

    def record():
        total = atoms.get_potential_energy() + atoms.get_kinetic_energy()
        steps.append((atoms.positions.copy(), atoms.cell.array.copy(), float(total)))

    runner.attach(record)
    if settings["method"] == "md":
        runner.run(settings["steps"])
    else:
        runner.run(fmax=0.001, steps=settings["steps"])
    return steps


def answer(request):
    if request.get("threads"):
        try:
            import torch

            torch.set_num_threads(request["threads"])
        except ImportError:
            pass
    calc = load(request["file"], request["argument"], "cpu", request["options"])
    if "drive" in request:
        return drive(unpack(request["structures"][0]), calc, request["drive"])
    return [evaluate(unpack(packed), calc, request["getters"]) for packed in request["structures"]]


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as stream:
        request = pickle.load(stream)
    with open(sys.argv[2], "wb") as stream:
        pickle.dump(answer(request), stream, protocol=4)
