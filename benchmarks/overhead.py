"""What Rootstock adds to a call: against the same model called directly in its own environment.

Both arms alternate, call by call, in one run, so that a noisy machine hits both alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rootstock import RootstockCalculator, find_root, prepare
from rootstock.environments import resolve

from .direct_arm import supercell, timed

HERE = Path(__file__).resolve().parent
NULL = HERE / "environments" / "null_env.py"
NULL_SIZES = (32, 864, 10_976, 97_556)
MODEL_SIZES = (64, 256, 1000)
#: Metals where a model knows no other; else rock salt, whose few neighbours spare memory.
METALS = ("null", "snap", "emt")


@dataclass(frozen=True)
class Row:
    """One line of the table; times in milliseconds.

    Attributes
    ----------
    model : str
        Model string.
    natoms : int
        Number of atoms.
    calls : int
        Of each arm.
    direct, rootstock : float
        Median of the calls.
    added : float
        Median of the differences of neighbouring calls.
    spread : float
        Half the interquartile range of those differences.
    percent : float
        `added` over `direct`.
    """

    model: str
    natoms: int
    calls: int
    direct: float
    rootstock: float
    added: float
    spread: float
    percent: float


@dataclass(frozen=True)
class Start:
    """How long the first energy takes; seconds.

    Attributes
    ----------
    model : str
        Model string.
    build : float
        Preparing the environment; 0 if it was there.
    first_energy : float
        From construction to the first energy, everything built.
    direct : float
        A script that does the same directly in that environment.
    """

    model: str
    build: float
    first_energy: float
    direct: float


class DirectArm:
    """A process of the model's environment that times its own calls."""

    def __init__(self, calc: RootstockCalculator, threads: int) -> None:
        session = calc._session  # noqa: SLF001  the same environment, to the byte
        calc.report  # noqa: B018  starts it
        variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [session.environment.python, "-I", HERE / "direct_arm.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=variables,
            text=True,
            bufsize=1,
        )
        recipe = session.recipe
        self.ask(file=str(recipe.file.path), argument=recipe.argument, threads=threads)

    def ask(self, **request) -> float:
        """Send a request; return the seconds that it took."""
        self._process.stdin.write(json.dumps(request) + "\n")
        answer = self._process.stdout.readline()
        if not answer:
            msg = f"the direct arm ended with {self._process.wait()} at {request} (no memory?)"
            raise RuntimeError(msg)
        return float(answer)

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def measure(calc: RootstockCalculator, name: str, sizes, seconds: float = 6.0) -> list[Row]:
    """Measure both arms at several sizes.

    Parameters
    ----------
    calc : RootstockCalculator
        Made with ``threads=1``, as the direct arm is.
    name : str
        For the table.
    sizes : iterable of int
        Numbers of atoms.
    seconds : float
        About how long each size may take.
    """
    rows = []
    formula = _formula(name)
    with contextlib.closing(DirectArm(calc, threads=1)) as direct:
        for natoms in sizes:
            atoms = supercell(natoms, formula)
            atoms.calc = calc
            for seed in (0, 1):  # warm: topology, layouts, caches, compiled kernels
                pace = timed(atoms, seed) + direct.ask(natoms=natoms, formula=formula, seed=seed)
            calls = max(5, min(2000, int(seconds / pace)))
            ours, theirs = [], []
            for seed in range(2, calls + 2):
                theirs.append(direct.ask(natoms=natoms, formula=formula, seed=seed))
                ours.append(timed(atoms, seed))
            rows.append(_row(name, natoms, ours, theirs))
    return rows


def _formula(model: str) -> str:
    """Return which of the two materials a model is measured on."""
    return "Cu" if model.partition("-")[0] in METALS else "NaCl"


def _row(name: str, natoms: int, ours: list[float], theirs: list[float]) -> Row:
    differences = [1e3 * (a - b) for a, b in zip(ours, theirs, strict=True)]
    low, _, high = statistics.quantiles(differences, n=4)
    direct, added = 1e3 * statistics.median(theirs), statistics.median(differences)
    spread = (high - low) / 2
    ours_ms = 1e3 * statistics.median(ours)
    return Row(name, natoms, len(ours), direct, ours_ms, added, spread, 100 * added / direct)


def measure_start(model: str, root: Path) -> Start:
    """Measure the time to the first energy, and to the same in a plain script."""
    place = find_root(root)
    started = time.perf_counter()
    file = resolve(model, place)[1]
    built = prepare(file, place)
    build = time.perf_counter() - started
    formula = _formula(model)
    atoms = supercell(32, formula)
    started = time.perf_counter()
    with RootstockCalculator(model, root=root, device="cpu") as calc:
        atoms.calc = calc
        atoms.get_potential_energy()
        ours = time.perf_counter() - started
    argument = calc._session.recipe.argument  # noqa: SLF001  what setup() got
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import importlib.util\n"
        "from direct_arm import supercell\n"
        f"spec = importlib.util.spec_from_file_location('_d', {str(file.path)!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        f"atoms = supercell(32, {formula!r})\n"
        f"atoms.calc = module.setup({argument!r}, 'cpu')\n"
        "atoms.get_potential_energy()\n"
    )
    started = time.perf_counter()
    subprocess.run([built.python, "-c", code], check=True, capture_output=True)
    return Start(model, build, ours, time.perf_counter() - started)


def run(root: Path, models: tuple[str, ...] = ("chgnet",), seconds: float = 6.0) -> dict:
    """Measure everything; return plain data."""
    rows = []
    with RootstockCalculator(environment=NULL, root=root, device="cpu", threads=1) as calc:
        rows += measure(calc, "null", NULL_SIZES, seconds)
    starts = []
    for model in models:
        starts.append(measure_start(model, root))
        with RootstockCalculator(model, root=root, device="cpu", threads=1) as calc:
            rows += measure(calc, model, MODEL_SIZES, seconds)
    return {"rows": [asdict(row) for row in rows], "starts": [asdict(start) for start in starts]}
