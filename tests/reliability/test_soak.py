"""Many calls with changing structures, compared with the direct call; memory, descriptors, pace.

The usual run includes a short one; the long ones run with ``pytest -m slow tests/reliability/test_soak.py``.
"""

from __future__ import annotations

import os
import re
import statistics
import time
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from rootstock import RootstockCalculator
from tests.support import direct
from tests.support.comparisons import identical
from tests.support.models import Model
from tests.support.probe_env import Reference

LONG = 3000  # seconds


def memory(pid: int) -> int:
    """Return the resident memory of a process in KiB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])


def structures(count: int, largest: int, seed: int = 1):
    """Yield structures: a few steps of each, then other species, size, cell and pbc."""
    generator = np.random.default_rng(seed)
    made = 0
    while made < count:
        natoms = int(np.exp(generator.uniform(0, np.log(largest))))
        atoms = Atoms(
            generator.integers(1, 90, natoms),
            generator.uniform(0, 30, (natoms, 3)),
            cell=np.eye(3) * 30 + generator.normal(size=(3, 3)),
            pbc=generator.integers(0, 2, 3),
            info={"charge": int(generator.integers(-2, 3))},
        )
        for _ in range(min(20, count - made)):
            atoms.positions += generator.normal(scale=0.01, size=(natoms, 3))
            made += 1
            yield atoms


def soak(calc: RootstockCalculator, count: int, largest: int) -> None:
    """Compare every call; measure memory, descriptors and pace along the way."""
    pid = calc.report.pid
    reference, samples, paces = Reference(), [], []
    started = time.perf_counter()
    for number, atoms in enumerate(structures(count, largest)):
        forces = calc.get_property("forces", atoms)
        calc_results = calc.results
        reference.calculate(atoms)
        for name in ("energy", "forces", "stress", "charges"):
            assert identical(calc_results[name], reference.results[name]), (number, name)
        assert identical(forces, reference.results["forces"])
        if number % (count // 10) == count // 10 - 1:
            samples.append((memory(os.getpid()), memory(pid), len(os.listdir("/proc/self/fd"))))
            paces.append(time.perf_counter() - started)
            started = time.perf_counter()
    assert calc.report.pid == pid
    main, worker, descriptors = (np.array(column) for column in zip(*samples, strict=True))
    assert len(set(descriptors)) == 1
    # the largest structure so far sets both; after the first tenths nothing grows
    assert main[-1] - main[3] < 20_000 and worker[-1] - worker[3] < 20_000, samples
    assert statistics.median(paces[-3:]) < 3 * statistics.median(paces[:3])


def test_a_short_soak(make):
    soak(make("probe-reference"), 2000, 500)


@pytest.mark.slow
@pytest.mark.timeout(LONG)
def test_a_long_soak(make):
    soak(make("probe-reference"), 200_000, 20_000)


@pytest.mark.slow
@pytest.mark.model
@pytest.mark.timeout(LONG)
def test_a_soak_of_chgnet(torch_root, tmp_path):
    model = Model("chgnet", torch_root, {})
    generator = np.random.default_rng(1)
    frames = []
    for number in range(100):  # twenty steps each
        a, b = [("Na", "Cl"), ("Li", "F"), ("K", "Br"), ("Mg", "O")][number % 4]
        atoms = bulk(a + b, "rocksalt", 5.0) * (1, 1, 1 + number % 3)
        for _ in range(20):
            atoms.positions += generator.normal(scale=0.01, size=(len(atoms), 3))
            frames.append(atoms.copy())
    getters = ["get_potential_energy", "get_forces", "get_stress"]
    expected_results = model.direct(
        tmp_path, structures=[direct.pack(a) for a in frames], getters=getters
    )
    samples = []
    for number, (atoms, expected) in enumerate(zip(frames, expected_results, strict=True)):
        result = direct.evaluate(atoms, model.calc, getters)
        for name, value in expected["results"].items():
            assert identical(result["results"][name], value), (number, name)
        if number % 200 == 199:
            samples.append(memory(model.calc.report.pid))
    model.calc.close()
    assert samples[-1] - samples[4] < 50_000, samples


@pytest.mark.slow
@pytest.mark.timeout(LONG)
def test_starting_and_closing_500_times(make):
    calc, atoms = make("probe-null"), Atoms("H")
    samples = []
    for number in range(500):
        calc.get_potential_energy(atoms)
        calc.close()
        atoms.positions += 0.1
        if number % 100 == 99:
            samples.append((memory(os.getpid()), len(os.listdir("/proc/self/fd"))))
    assert samples[-1][0] - samples[1][0] < 5000 and len({m[1] for m in samples}) == 1, samples
