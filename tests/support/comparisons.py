"""Comparing values bit for bit."""

from __future__ import annotations

import math

import numpy as np

from tests.support.probe_env import Reference


def identical(a, b) -> bool:
    """Tell if two values have the same types, shapes and bits; every NaN equals every other."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (np.ndarray, np.generic)):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(identical, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(k in b and identical(v, b[k]) for k, v in a.items())
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or (
            a == b and math.copysign(1, a) == math.copysign(1, b)
        )
    if isinstance(a, complex):
        return identical(a.real, b.real) and identical(a.imag, b.imag)
    return a == b


def reference_results(atoms, name: str) -> dict:
    """Return all results of a fresh calculator of the probe's reference model, in this process."""
    calc = Reference()
    calc.get_property(name, atoms)
    return {k: v for k, v in calc.results.items() if k not in ("odd", "changes")}
