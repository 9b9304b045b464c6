"""Comparing results property by property, with units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from ..properties import PROPERTIES, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["compare_results", "describe_deviations", "deviation_unit", "merge_largest"]


def deviation_unit(name: str) -> str:
    """Return the unit of a property's deviation: eV/atom for energies, else ASE's unit."""
    return f"{unit_of(name)}/atom" if _is_extensive(name) else unit_of(name)


def compare_results(
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    natoms: int,
    labels: tuple[str, str] = ("the first call", "the second call"),
) -> tuple[dict[str, float], list[str]]:
    """Compare two sets of results of one structure, property by property.

    Results that are not numeric on either side, such as text, are not compared.

    Parameters
    ----------
    first, second : mapping of str to number or ndarray
        Results by property name, any dtype and shape, in ASE's units.
    natoms : int
        Number of atoms of the structure: energies are compared per atom.
    labels : tuple of str
        Sources of the two, for the texts of problems.

    Returns
    -------
    dict of str to float
        The largest absolute deviation of each property, in :func:`deviation_unit`. It is 0 only
        if all bits are equal.
    list of str
        Problems, each with the property's name: a property that one side lacks, another shape or
        dtype, NaN, or values that are not finite.
    """
    deviations: dict[str, float] = {}
    problems = []
    for name in sorted({*first, *second}):
        a, b = _numbers(name, first.get(name)), _numbers(name, second.get(name))
        if a is None and b is None:
            if name in PROPERTIES:
                problems.append(f"{name} is not numeric in {labels[0]} and {labels[1]}")
        elif a is None or b is None:
            missing, side = (first, labels[0]) if a is None else (second, labels[1])
            state = "is not numeric" if name in missing else "is missing"
            problems.append(f"{name} {state} in {side}")
        elif (mismatch := _mismatch(name, a, b, labels)) is not None:
            problems.append(mismatch)
        else:
            scale = natoms if _is_extensive(name) else 1
            deviations[name] = _largest_deviation(a, b) / scale
    return deviations, problems


def describe_deviations(deviations: Mapping[str, float], none: str = "bit for bit") -> str:
    """Return the deviation of each property that deviates, with its unit; `none` if none does."""
    parts = [
        f"{name} to {value:.1e} {deviation_unit(name)}".rstrip()
        for name, value in deviations.items()
        if value > 0
    ]
    return ", ".join(parts) or none


def merge_largest(target: dict[str, float], deviations: Mapping[str, float]) -> None:
    """Raise the values of `target` to those of `deviations` where these are larger."""
    for name, value in deviations.items():
        target[name] = max(target.get(name, 0.0), value)


def _is_extensive(name: str) -> bool:
    return name in PROPERTIES and PROPERTIES[name].extensive


def _numbers(name: str, value: Any) -> Optional[np.ndarray]:
    """Return a result as an array; None if it does not consist of numbers."""
    if not isinstance(value, (int, float, complex, np.ndarray, np.generic)) and not (
        name in PROPERTIES and isinstance(value, (list, tuple))
    ):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # a ragged list
        return None
    return array if array.dtype.kind in "biufc" else None


def _mismatch(name: str, a: np.ndarray, b: np.ndarray, labels: tuple[str, str]) -> Optional[str]:
    """Return why two arrays can't be compared number by number, or None."""
    if a.shape != b.shape:
        return f"{name} has shape {a.shape} in {labels[0]} and {b.shape} in {labels[1]}"
    if a.dtype != b.dtype:
        return f"{name} has dtype {a.dtype} in {labels[0]} and {b.dtype} in {labels[1]}"
    for array, label in ((a, labels[0]), (b, labels[1])):
        if np.isnan(array).any():
            return f"{name} is NaN in {label}"
        # a model's own extra results may hold infinities, if they are the same
        if not np.isfinite(array).all() and (name in PROPERTIES or a.tobytes() != b.tobytes()):
            return f"{name} is not finite in {label}"
    return None


def _largest_deviation(a: np.ndarray, b: np.ndarray) -> float:
    if a.tobytes() == b.tobytes():
        return 0.0
    kind = complex if a.dtype.kind == "c" else float
    largest = float(np.abs(a.astype(kind) - b.astype(kind)).max())
    return max(largest, np.finfo(float).tiny)  # 0.0 and -0.0 are equal, and their bits are not
