"""Conversion between ASE's and i-PI's units, signs and cell orientation.

The factors are literals, so that they change neither with ASE's nor with SciPy's release. They are
CODATA 2014, which ASE's ``ase.units`` uses by default. i-PI's own differ by 9.6e-8 relative in the
energy. Both ends see the same number of Hartree, so that an energy in eV differs between two
programs by that factor.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "BOHR",
    "HARTREE",
    "cell_to_wire",
    "stress_to_virial",
    "virial_to_stress",
    "wire_to_cell",
]

#: eV per Hartree (CODATA 2014).
HARTREE = 27.211386024367243
#: Å per Bohr (CODATA 2014).
BOHR = 0.5291772105638411


def cell_to_wire(cell: np.ndarray) -> np.ndarray:
    """Turn rows in Å into i-PI's columns in Bohr; float64, shape (3, 3), contiguous."""
    return np.ascontiguousarray(np.asarray(cell, float).T / BOHR)


def wire_to_cell(wire: np.ndarray) -> np.ndarray:
    """Turn i-PI's columns in Bohr into rows in Å; float64, shape (3, 3), contiguous."""
    return np.ascontiguousarray(wire.reshape(3, 3).T * BOHR)


def stress_to_virial(stress: np.ndarray, volume: float) -> np.ndarray:
    """Turn ASE's stress into i-PI's virial.

    Parameters
    ----------
    stress : ndarray, shape (6,) in Voigt order xx yy zz yz xz xy, or (3, 3)
        In eV/Å³; positive under tension.
    volume : float
        In Å³.

    Returns
    -------
    ndarray, shape (3, 3)
        ``-volume * stress`` in Hartree: i-PI's virial is positive under compression.
    """
    stress = np.asarray(stress, float)
    if stress.shape == (6,):
        xx, yy, zz, yz, xz, xy = stress
        stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return np.ascontiguousarray(-volume * stress / HARTREE)


def virial_to_stress(virial: np.ndarray, volume: float) -> np.ndarray:
    """Undo :func:`stress_to_virial`; returns Voigt order, shape (6,), in eV/Å³."""
    full = -np.asarray(virial, float).reshape(3, 3) * HARTREE / volume
    return np.array([full[0, 0], full[1, 1], full[2, 2], full[1, 2], full[0, 2], full[0, 1]])
