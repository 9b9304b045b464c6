"""Whether a model repeats itself, and whether its worker returns what a direct call returns."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import RootstockError
from ..evaluation.comparison import (
    compare_results,
    describe_deviations,
    deviation_unit,
    merge_largest,
)
from .check import FAILED, Check, outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..evaluation.evaluator import Evaluator
    from ..protocol.data import Results, Structure

__all__ = ["check_against_direct_call"]

#: Evaluations of a structure in a row. The largest deviation among few would underestimate noise.
_CALLS = 4
#: Deviations up to this multiple of the measured noise are noise: it is the largest of few samples.
_MARGIN = 3.0
#: The largest noise of a model that repeats itself: eV/atom, eV/Å, eV/Å³; of other properties
#: relative to 1 plus their largest magnitude.
_LIMITS = {"energy": 2e-5, "free_energy": 2e-5, "forces": 1e-3, "stress": 1e-4}
_RELATIVE_LIMIT = 1e-3
_REPEATS = "repeats itself"
_DIRECT = "equals the direct call in the environment"
_LABELS = ("the worker", "the direct call")


def check_against_direct_call(
    start_worker: Callable[[], Evaluator],
    start_direct_call: Callable[[], Evaluator],
    structures: Sequence[Structure],
    properties: Sequence[str],
) -> tuple[list[Check], dict[str, float]]:
    """Measure a model's repeat noise and compare its worker with the direct call.

    Both evaluators start afresh and get the structures in the same order, so a model that
    remembers earlier structures is compared in the same state. The worker evaluates each of them
    again, several times in a row and after others: the largest deviation is the repeat noise, which
    may not exceed rounding in single precision. Results have to be equal bit for bit where the
    noise is 0, else within three times the noise, since few samples underestimate it.

    Parameters
    ----------
    start_worker, start_direct_call : callable
        Return a new evaluator, which is closed before the next one starts.
    structures : sequence of Structure
        The structures; positions and cells in Å.
    properties : sequence of str
        Properties to ask for; all results are compared.

    Returns
    -------
    list of Check
        That the model repeats itself, and that the direct call returns the same.
    dict of str to float
        The repeat noise of each property: eV/atom for energies, ASE's unit for others.
    """
    noise: dict[str, float] = {}
    try:
        worker = start_worker()
        try:
            first, repeats = _measure_noise(worker, structures, properties, noise)
        finally:
            worker.close()
    except (RootstockError, OSError) as error:
        detail = _first_line(error)
        return [Check(_REPEATS, FAILED, detail), Check(_DIRECT, FAILED, "not compared")], noise
    try:
        direct_call = start_direct_call()
        try:
            direct = _evaluate(direct_call, structures, properties)
        finally:
            direct_call.close()
    except (RootstockError, OSError) as error:
        return [repeats, Check(_DIRECT, FAILED, str(error)[-500:])], noise
    return [repeats, _compare(structures, first, direct, noise)], noise


def _measure_noise(
    worker: Evaluator,
    structures: Sequence[Structure],
    properties: Sequence[str],
    noise: dict[str, float],
) -> tuple[list[Results], Check]:
    """Return the first results of each structure and the check; add the deviations to `noise`."""
    # a single structure is followed by a displaced copy: "after others" needs another structure
    others = [] if len(structures) > 1 else [_displaced(structure) for structure in structures]
    first = _evaluate(worker, [*structures, *others], properties)[: len(structures)]
    in_a_row: dict[str, float] = {}
    after_others: dict[str, float] = {}
    problems: list[str] = []
    for structure, results in zip(structures, first):
        calls = _evaluate(worker, [structure] * _CALLS, properties)
        for pairs, deviations in (
            (itertools.combinations(calls, 2), in_a_row),
            (((results, later) for later in calls), after_others),
        ):
            for earlier, later in pairs:
                new, new_problems = compare_results(
                    earlier, later, len(structure.positions), ("one call", "another call")
                )
                merge_largest(deviations, new)
                problems += [text for text in new_problems if text not in problems]
    merge_largest(noise, in_a_row)
    merge_largest(noise, after_others)
    problems += _too_noisy(noise, first)
    detail = "bit for bit"
    if any(noise.values()):
        detail = (
            f"in a row: {describe_deviations(in_a_row)}; "
            f"after other structures: {describe_deviations(after_others)}"
        )
    return first, Check(_REPEATS, outcome(not problems), "; ".join(problems) or detail)


def _too_noisy(noise: dict[str, float], first: Sequence[Results]) -> list[str]:
    """Return a problem for each property whose noise is more than rounding."""
    problems = []
    for name, value in noise.items():
        magnitudes = [
            np.abs(results[name]).max(initial=0.0) for results in first if name in results
        ]
        limit = _LIMITS.get(name, _RELATIVE_LIMIT * (1.0 + max(magnitudes, default=0.0)))
        if not value <= limit:
            unit = deviation_unit(name)
            problems.append(f"{name} differs by {value:.1e} {unit}, more than {limit:.0e} {unit}")
    return problems


def _compare(
    structures: Sequence[Structure],
    worker: Sequence[Results],
    direct: Sequence[Results],
    noise: dict[str, float],
) -> Check:
    """Compare the results of the two, structure by structure."""
    deviations: dict[str, float] = {}
    problems: list[str] = []
    if not structures or len(worker) != len(direct):
        problems.append(f"{len(worker)} results of the worker, {len(direct)} of the direct call")
    for structure, ours, theirs in zip(structures, worker, direct):
        new, new_problems = compare_results(ours, theirs, len(structure.positions), _LABELS)
        merge_largest(deviations, new)
        problems += [text for text in new_problems if text not in problems]
    beyond = {name: v for name, v in deviations.items() if v > _MARGIN * noise.get(name, 0.0)}
    detail = describe_deviations(deviations)
    if any(deviations.values()) or any(noise.values()):
        detail += f" (repeat noise: {describe_deviations(noise, none='none')})"
    if not deviations:
        problems.append("no property was compared")
    return Check(_DIRECT, outcome(not beyond and not problems), "; ".join([*problems, detail]))


def _evaluate(
    evaluator: Evaluator, structures: Sequence[Structure], properties: Sequence[str]
) -> list[Results]:
    """Return the results of each structure; raise the first error."""
    results = []
    for result in evaluator.evaluate(structures, properties):
        if isinstance(result, RootstockError):
            raise result
        results.append(result)
    return results


def _displaced(structure: Structure) -> Structure:
    """Return another structure: atoms moved by 0.1 Å (standard deviation)."""
    shifts = np.random.default_rng(2).normal(scale=0.1, size=structure.positions.shape)
    return replace(structure, positions=structure.positions + shifts)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
