"""Interleaved timing: the arms take turns in short blocks, so that noise affects all equally."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .arms import Arm

#: Seconds of a block, the calls of an arm before the next arm's turn.
_BLOCK = 0.03
_MOST_ROUNDS = 400


@dataclass
class Timings:
    """Times of an arm, round by round, in seconds.

    Attributes
    ----------
    whole : list of float
        Median of each block of calls.
    inside : list of float
        Of these, the part inside the model's ``calculate()``, where it is known.
    """

    whole: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)

    @property
    def outside(self) -> list[float]:
        """The rest: ASE and the transport."""
        return [whole - inside for whole, inside in zip(self.whole, self.inside, strict=True)]

    def add(self, answer: Mapping[str, list[float]]) -> None:
        """Add the answer to a block."""
        calls = list(zip(answer["seconds"], answer.get("inside", answer["seconds"]), strict=True))
        middle = sorted(calls)[len(calls) // 2]
        self.whole.append(middle[0])
        self.inside.append(middle[1] or 0.0)


def take_turns(arms: Mapping[str, Arm], do: str, seconds: float, **request: object) -> dict:
    """Have `arms` do the same in turns for about `seconds`; return the timings of each.

    The order changes from round to round; the first two blocks of each arm (new fixed
    inputs, compiled kernels, cold caches) don't count.
    """
    pace = 1e-6
    for seed in (0, 1):
        for arm in arms.values():
            pace = max(pace, arm.ask(do, calls=2, seed=seed, **request)["seconds"][-1])
    calls = max(1, min(100, int(_BLOCK / pace)))
    rounds = max(7, min(_MOST_ROUNDS, int(seconds / (pace * calls * len(arms)))))
    timings = {kind: Timings() for kind in arms}
    orders = itertools.cycle([list(arms), list(arms)[::-1]])
    for seed, order in zip(range(2, rounds + 2), orders):
        for kind in order:
            timings[kind].add(arms[kind].ask(do, calls=calls, seed=seed, **request))
    return timings


@dataclass(frozen=True)
class Added:
    """Time that an arm takes beyond another, in milliseconds.

    Attributes
    ----------
    median, spread : float
        Of the differences, round by round; the spread is half the interquartile range.
    """

    median: float
    spread: float


def added(seconds: list[float], base: list[float]) -> Added:
    """Compare two lists of seconds, item by item."""
    differences = [1e3 * (a - b) for a, b in zip(seconds, base, strict=True)]
    low, middle, high = statistics.quantiles(differences, n=4)
    return Added(middle, (high - low) / 2)


def milliseconds(seconds: list[float]) -> float:
    """Return the median in milliseconds."""
    return 1e3 * statistics.median(seconds)
