"""Comparing results property by property, with units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..properties import PROPERTIES, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["compare_results", "describe_deviations", "is_numeric", "same_bits"]


def is_numeric(value: Any) -> bool:
    """Tell if a result is a number or an array of numbers."""
    return isinstance(value, (int, float, np.ndarray, np.generic)) and (
        np.asarray(value).dtype.kind in "biufc"
    )


def same_bits(first: Any, second: Any) -> bool:
    """Tell if two results have the same dtype, shape and bits."""
    a, b = np.asarray(first), np.asarray(second)
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def compare_results(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> tuple[dict[str, float], list[str]]:
    """Compare two sets of results.

    Returns
    -------
    dict of str to float
        The largest absolute deviation of each numeric property, in ASE's units; 0 only if dtype,
        shape and all bits are equal.
    list of str
        Problems: a property that one side lacks, another shape, or values that are not finite.
    """
    deviations: dict[str, float] = {}
    problems = []
    for name in sorted({*first, *second}):
        if name not in first or name not in second:
            if is_numeric(first.get(name, second.get(name))):
                problems.append(
                    f"{name} is missing in {'the first' if name not in first else 'the second'}"
                )
            continue
        if not (is_numeric(first[name]) and is_numeric(second[name])):
            continue
        a, b = np.asarray(first[name]), np.asarray(second[name])
        if a.shape != b.shape:
            problems.append(f"{name} has shapes {a.shape} and {b.shape}")
        elif name in PROPERTIES and not (np.isfinite(a).all() and np.isfinite(b).all()):
            problems.append(f"{name} is not finite")
        elif same_bits(a, b):
            deviations[name] = 0.0
        else:
            difference = np.abs(a.astype(complex) - b.astype(complex))
            # equal values of another dtype are no bit-identical result either
            deviations[name] = max(float(np.nanmax(difference, initial=0.0)), np.finfo(float).tiny)
    return deviations, problems


def describe_deviations(deviations: Mapping[str, float]) -> str:
    """Return ``"bit for bit"``, or the largest deviation of each property that deviates."""
    parts = [
        f"{name} to {value:.1e} {unit_of(name)}".rstrip()
        for name, value in deviations.items()
        if value > 0
    ]
    return ", ".join(parts) or "bit for bit"
