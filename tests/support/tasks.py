"""Roots, structures and counters for tests of ``rootstock.map``."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk

import rootstock
from rootstock.runtime.session import Session
from tests.support.fake_builds import root_with_fake_build
from tests.support.paths import TESTS


def emt_root(folder):
    """Make a root with the EMT of ``emt_env.py``."""
    return root_with_fake_build(folder, "emt", (TESTS / "support" / "emt_env.py").read_text())


class Runner:
    """Runs functions as tasks with the model of a root; quietly, on the CPU."""

    def __init__(self, root, model="emt"):
        self.root = root
        self._model = model

    def __call__(self, function, structures, model=None, **options):
        return list(self.stream(function, structures, model, **options))

    def stream(self, function, structures, model=None, **options):
        options = {"root": self.root, "device": "cpu", "progress": False, **options}
        return rootstock.map(function, structures, model or self._model, **options)


def rattled(number: int, size: int = 2) -> list[Atoms]:
    """Return displaced copper crystals of 4 and 8 atoms."""
    images = []
    for seed in range(number):
        atoms = bulk("Cu", cubic=True) * (1 + seed % size, 1, 1)
        atoms.rattle(0.1, seed=seed)
        images.append(atoms)
    return images


def count_requests(monkeypatch) -> list[int]:
    """Return a list that gets the number of structures of each request."""
    requests: list[int] = []
    evaluate_batch = Session.evaluate_batch

    def counted(self, structures, *arguments, **options):
        requests.append(len(structures))
        return evaluate_batch(self, structures, *arguments, **options)

    monkeypatch.setattr(Session, "evaluate_batch", counted)
    return requests


def same(atoms: Atoms, other: Atoms) -> bool:
    """Tell if positions, cell, momenta and results agree bit for bit."""
    return (
        np.array_equal(atoms.positions, other.positions)
        and np.array_equal(atoms.cell.array, other.cell.array)
        and np.array_equal(atoms.get_momenta(), other.get_momenta())
        and atoms.get_potential_energy() == other.get_potential_energy()
        and np.array_equal(atoms.get_forces(), other.get_forces())
    )
