"""Tasks: FIRE relaxations in ASE's loop against ``rootstock.map`` with one and two processes."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import rootstock
from rootstock import prepare
from rootstock.runtime.arguments import make_spec

from .arm import FMAX, MOST_STEPS, many_structures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .arms import Launcher

#: Processes of each arm beside ASE's loop, and whether batches may be used.
KINDS = {
    "1 process": {"processes": 1, "exact": True},
    "2 processes": {"processes": 2, "exact": True},
    "1 process, batches": {"processes": 1},
}
_ROUNDS = 7


def relax(atoms) -> tuple[int, list[float]]:
    """Relax; return the process and when each force call was done, on the system's clock."""
    from ase.optimize import FIRE

    times: list[float] = []
    optimizer = FIRE(atoms, logfile=None)
    optimizer.attach(lambda: times.append(time.monotonic()))
    optimizer.run(fmax=FMAX, steps=MOST_STEPS)
    return os.getpid(), times


def tasks(
    launcher: Launcher, names: Iterable[str], seconds: float, formula: Callable[[str], str]
) -> list[dict]:
    """Measure every arm on the same structures, in turns.

    Parameters
    ----------
    launcher : Launcher
        Starts ASE's loop in the model's environment.
    names : iterable of str
        Model strings.
    seconds : float
        Time for each model, about, without the starts of workers.
    formula : callable
        The material that a model is measured on.
    """
    return [row for name in names for row in _model(launcher, name, seconds, formula(name))]


def _model(launcher, name, seconds, formula) -> list[dict]:
    spec = replace(prepare(make_spec(**launcher.calculator_arguments(name))), threads=1)
    rates: dict[str, list[float]] = {"ASE loop": [], **{kind: [] for kind in KINDS}}
    used: set[str] = set()
    with contextlib.closing(launcher.model("direct", name, stopwatch=False)) as loop:
        pace = loop.ask("relax", formula=formula, count=4, seed=0)["seconds"][0] / 4
        count = max(8, int(seconds / pace / _ROUNDS / (1 + len(KINDS))))
        for seed in range(1, _ROUNDS + 1):
            reply = loop.ask("relax", formula=formula, count=count, seed=seed)
            rates["ASE loop"].append(reply["steps"] / reply["seconds"][0])
            structures = many_structures(formula, count, seed)
            for kind in list(KINDS) if seed % 2 else list(KINDS)[::-1]:
                rate, ways = _rate(structures, spec, KINDS[kind])
                rates[kind].append(rate)
                if "batches" in kind:
                    used |= ways
    return [_row(name, kind, rates, count, used) for kind in rates]


def _rate(structures, spec, options) -> tuple[float, set[str]]:
    """Return the force calls a second while all processes work, and how they were evaluated.

    Neither starts of workers count, nor the time in which one process has nothing to do any more.
    """
    results = list(rootstock.map(relax, structures, spec, progress=False, **options))
    times: dict[int, list[float]] = {}
    for result in results:
        pid, done = result.value
        times.setdefault(pid, []).extend(done)
    begin = max(min(done) for done in times.values())
    end = min(max(done) for done in times.values())
    steps = sum(begin < moment <= end for done in times.values() for moment in done)
    return steps / (end - begin), {result.provenance.evaluation for result in results}


def _row(name, kind, rates, count, used) -> dict:
    base = "1 process" if kind == "2 processes" else "ASE loop"
    ratios = [value / other for value, other in zip(rates[kind], rates[base], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    is_batch = "batches" in kind and "batch" not in used
    return {
        "model": name,
        "kind": kind + " (not faster)" * is_batch,
        "rounds": len(ratios),
        "structures": count,
        "milliseconds": 1e3 / statistics.median(rates[kind]),
        "base": base,
        "speed": middle,
        "spread": (high - low) / 2,
    }
