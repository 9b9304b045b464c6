"""Many structures: ASE's loop in one process against workers, batches and torch-sim."""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from rootstock import prepare
from rootstock.errors import BuildError
from rootstock.evaluation.evaluate import evaluations
from rootstock.evaluation.pool import Pool, PoolOptions, pool_specs
from rootstock.runtime.arguments import make_spec

from .arm import many_structures
from .arms import TITLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .arms import Launcher

#: Arms beside ASE's loop: workers, and whether batches may be used.
KINDS = {"one worker": (1, True), "two workers": (2, True), "batches": (1, False)}
#: Models that are measured through torch-sim as well.
TORCH_SIM = ("sevennet",)
_LOOP = "ASE loop"
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
            arms = {_LOOP: stack.enter_context(contextlib.closing(_loop(launcher, name)))}
            if name in TORCH_SIM:
                try:
                    arm = launcher.torch_sim(name)
                except BuildError as error:
                    print(error, file=sys.stderr)
                    rows.append(_left_out(name, error))
                else:
                    arms[TITLES["torch-sim"]] = stack.enter_context(contextlib.closing(arm))
            pools = {kind: _pool(launcher, name, *how) for kind, how in KINDS.items()}
            for pool in pools.values():
                stack.enter_context(contextlib.closing(pool))
            rows += _rounds(name, formula(name), arms, pools, seconds, count)
    return rows


def _left_out(name, error) -> dict:
    reason = str(error).partition(". uv's output")[0]
    return {"model": name, "kind": TITLES["torch-sim"], "left_out": reason}


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


def _rounds(name, formula, arms, pools, seconds, count) -> list[dict]:
    others = [kind for kind in arms if kind != _LOOP]
    for kind in others:
        arms[kind].ask("check", formula=formula, count=8, seed=0)
        arms[kind].ask("many", formula=formula, count=64, seed=0)
    pace = arms[_LOOP].ask("many", formula=formula, count=8, seed=0)["seconds"][0] / 8
    for pool in pools.values():  # starts workers, checks batches, finds the budget
        _time(pool, many_structures(formula, 64, 0))
    variants = len(arms) + len(pools)
    share = max(4, min(count, int(seconds / pace / variants / 7)))
    rounds = max(7, min(_MOST_ROUNDS, int(seconds / pace / share / variants)))
    times: dict[str, list[float]] = {kind: [] for kind in (_LOOP, *pools, *others)}
    used: set[str] = set()
    for seed in range(1, rounds + 1):
        structures = many_structures(formula, share, seed)
        for kind, arm in arms.items():
            times[kind] += arm.ask("many", formula=formula, count=share, seed=seed)["seconds"]
        order = list(pools) if seed % 2 else list(pools)[::-1]
        for kind in order:
            taken, ways = _time(pools[kind], structures)
            times[kind].append(taken)
            if kind == "batches":
                used |= ways
    rows = []
    for kind, taken in times.items():
        ratios = [base / value for base, value in zip(times[_LOOP], taken)]
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
