"""Structures that many tests use."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk


def copper(x: int = 2, y: int = 1, z: int = 1, *, rattle: float = 0.05, a=None) -> Atoms:
    """Return cubic cells of copper, four atoms each, slightly displaced."""
    atoms = bulk("Cu", "fcc", a=a, cubic=True) * (x, y, z)
    atoms.rattle(rattle, seed=1)
    return atoms


def huge_structure() -> Atoms:
    """Return a structure of 22 MB, more than the buffers of a socket hold (4 MB are requested)."""
    return Atoms(numbers=np.ones(900_000))
