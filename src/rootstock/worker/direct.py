"""A model by itself, inside its environment and without Rootstock: what a worker is compared with.

``python -I direct.py`` reads a JSON object from stdin (``file``, ``argument``, ``device``,
``options``, ``threads``, ``structures``) and writes one line of JSON with all results to the file
descriptor that is named on the command line. Standard library, NumPy and ASE.
"""

import json
import os
import runpy
import sys

import numpy as np
from ase import Atoms


def main() -> None:
    """Evaluate each structure; numbers and arrays of the results become lists."""
    request = json.load(sys.stdin)
    setup = runpy.run_path(request["file"], run_name="_rootstock_direct")["setup"]
    calc = setup(request["argument"], request["device"], **request["options"])
    if request["threads"] is not None and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(request["threads"])
    answers = []
    for structure in request["structures"]:
        atoms = Atoms(**structure)
        atoms.calc = calc
        atoms.get_potential_energy()
        atoms.get_forces()
        answers.append(
            {
                str(name): np.asarray(value, float).tolist()
                for name, value in calc.results.items()
                if np.asarray(value).dtype.kind in "biuf"
            }
        )
    with os.fdopen(int(sys.argv[1]), "w") as stream:
        json.dump(answers, stream)


if __name__ == "__main__":
    main()
