"""Time to the first energy, and time of imports."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from .arms import SCRIPT, running

if TYPE_CHECKING:
    from .arms import Launcher

_REPEATS = 5
_IMPORTS = {
    "rootstock": "import rootstock",
    "rootstock.RootstockCalculator": "from rootstock import RootstockCalculator",
    "ase.calculators.calculator": "import ase.calculators.calculator",
}


def first_energies(launcher: Launcher, model: str, repeats: int = _REPEATS) -> dict:
    """Return median seconds of a plain script, of Rootstock and of a second worker beside it."""
    python, direct = launcher.direct(model)
    arguments, seconds, scripts = launcher.calculator_arguments(model), [], []
    request = json.dumps({**direct, "model": arguments["model"]})
    start = partial(launcher.model, text=model, stopwatch=False)
    with running(start, ("rootstock",)) as arms:
        for _ in range(repeats):
            started = time.perf_counter()
            command = [python, "-I", SCRIPT, "first-energy", request]
            threads = str(launcher.threads)
            variables = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
            subprocess.run(command, check=True, capture_output=True, env=variables)
            scripts.append(time.perf_counter() - started)
            seconds.append(arms["rootstock"].ask("start")["seconds"])
    first, second = zip(*seconds, strict=True)
    return {
        "model": model,
        "direct": statistics.median(scripts),
        "first": statistics.median(first),
        "second": statistics.median(second),
    }


def null_starts(
    launcher: Launcher, kinds: tuple[str, ...], repeats: int = _REPEATS
) -> dict[str, float]:
    """Return the median time to the first energy of the model that returns zeros; seconds."""
    with running(launcher.null, kinds) as arms:
        seconds = {kind: [] for kind in kinds}
        for _ in range(repeats):
            for kind in kinds:
                seconds[kind].append(arms[kind].ask("start")["seconds"][0])
    return {kind: statistics.median(times) for kind, times in seconds.items()}


def imports(repeats: int = 15) -> dict[str, float]:
    """Return the median time of imports in fresh interpreters, in turns; seconds."""
    seconds = {name: [] for name in _IMPORTS}
    for _ in range(repeats):
        for name, line in _IMPORTS.items():
            code = f"import time; t = time.perf_counter(); {line}; print(time.perf_counter() - t)"
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
            seconds[name].append(float(done.stdout))
    return {name: statistics.median(times) for name, times in seconds.items()}
