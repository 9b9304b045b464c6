"""Small structures to check models on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ase import Atoms
from ase.build import bulk, molecule
from ase.data import atomic_numbers, reference_states

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["of_element", "samples"]


def samples(elements: Sequence[str] = ()) -> Iterator[Atoms]:
    """Yield small rattled structures of these elements, or of elements that most models know.

    Each has a cell, so that stress is defined; a molecule has a box around it.
    """
    if not elements:
        yield _rattled(bulk("NaCl", "rocksalt", 5.64) * (2, 1, 1))
        yield _rattled(bulk("Cu", cubic=True))
        yield _rattled(bulk("Si") * (2, 1, 1))
        water = molecule("H2O", vacuum=5.0)
        yield _rattled(water)
    for symbol in elements:
        yield _rattled(of_element(symbol))


def of_element(symbol: str) -> Atoms:
    """Return a small structure of one element: its crystal, or two atoms."""
    state = reference_states[atomic_numbers[symbol]] or {}
    if state.get("symmetry") in ("fcc", "bcc", "hcp", "diamond", "sc"):
        return bulk(symbol) * (2, 1, 1)
    pair = Atoms(f"{symbol}2", [[0, 0, 0], [0, 0, 2.0]], cell=[8, 8, 8])
    pair.center()
    return pair


def _rattled(atoms: Atoms) -> Atoms:
    atoms.rattle(0.05, seed=1)
    return atoms
