"""Many structures: ASE's loop in one process against one worker, two workers and batches."""

from __future__ import annotations

import contextlib
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from rootstock import prepare
from rootstock.evaluation.evaluate import evaluations
from rootstock.evaluation.pool import Pool, PoolOptions, pool_specs
from rootstock.runtime.arguments import make_spec

from .arm import many_structures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .arms import Launcher

#: Arms beside ASE's loop: workers, and whether batches may be used.
KINDS = {"one worker": (1, True), "two workers": (2, True), "batches": (1, False)}
_MOST_ROUNDS = 60


def many(
    launcher: Launcher,
    names: Iterable[str],
    seconds: float,
    formula: Callable[[str], str],
    count: int = 1000,
) -> list[dict]:
    """Measure every arm on the same structures, in turns.

    Parameters
    ----------
    launcher : Launcher
        Starts ASE's loop in the model's environment.
    names : iterable of str
        Model strings.
    seconds : float
        Time for each model, about.
    formula : callable
        The material that a model is measured on.
    count : int
        Structures in all rounds together, at most.
    """
    rows = []
    for name in names:
        with contextlib.ExitStack() as stack:
            loop = stack.enter_context(contextlib.closing(_loop(launcher, name)))
            pools = {kind: _pool(launcher, name, *how) for kind, how in KINDS.items()}
            for pool in pools.values():
                stack.enter_context(contextlib.closing(pool))
            rows += _rounds(name, formula(name), loop, pools, seconds, count)
    return rows


def _loop(launcher, name):
    return (
        launcher.null("direct")
        if name == "null"
        else launcher.model("direct", name, stopwatch=False)
    )


def _pool(launcher, name, workers, exact):
    arguments = launcher.calculator_arguments(name)
    if name == "null":
        arguments = launcher.null_arguments()
    spec = replace(prepare(make_spec(**arguments)), threads=1)
    return Pool(pool_specs(spec, None, workers), PoolOptions(exact=exact))


def _rounds(name, formula, loop, pools, seconds, count) -> list[dict]:
    pace = loop.ask("many", formula=formula, count=8, seed=0)["seconds"][0] / 8
    for pool in pools.values():  # starts workers, checks batches, finds the budget
        _time(pool, many_structures(formula, 64, 0))
    share = max(4, min(count, int(seconds / pace / (1 + len(pools)) / 7)))
    rounds = max(7, min(_MOST_ROUNDS, int(seconds / pace / share / (1 + len(pools)))))
    times: dict[str, list[float]] = {"ASE loop": [], **{kind: [] for kind in pools}}
    used: set[str] = set()
    for seed in range(1, rounds + 1):
        structures = many_structures(formula, share, seed)
        times["ASE loop"] += loop.ask("many", formula=formula, count=share, seed=seed)["seconds"]
        order = list(pools) if seed % 2 else list(pools)[::-1]
        for kind in order:
            taken, ways = _time(pools[kind], structures)
            times[kind].append(taken)
            if kind == "batches":
                used |= ways
    rows = []
    for kind, taken in times.items():
        ratios = [base / value for base, value in zip(times["ASE loop"], taken)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append(
            {
                "model": name,
                "kind": kind if kind != "batches" or "batch" in used else "batches (not faster)",
                "rounds": rounds,
                "structures": share,
                "milliseconds": 1e3 * statistics.median(taken) / share,
                "speed": middle,
                "spread": (high - low) / 2,
            }
        )
    return rows


def _time(pool, structures) -> tuple[float, set[str]]:
    started = time.perf_counter()
    ways = {e.provenance.evaluation for e in evaluations(structures, pool)}
    return time.perf_counter() - started, ways
