"""Images of a NEB, many calculators at once, joblib and dask."""

from __future__ import annotations

import copy
import os
import threading

import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.optimize import BFGS

from tests.support.processes import worker_pids
from tests.support.scripts import output_of
from tests.support.structures import copper


def images(calculator) -> list:
    first, last = copper(1), copper(1)
    last.positions[0] += [0.3, 0.2, 0.0]
    band = [first, *(first.copy() for _ in range(3)), last]
    for image in band:
        image.calc = calculator()
    return band


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
def test_the_images_of_a_neb_share_one_worker(make, parallel, duplicate):
    calc = make("probe-emt", threads=1)
    before = calc.report.pid
    energies = []
    for maker in (lambda: duplicate(calc), EMT):
        band = images(maker)
        neb = NEB(band, parallel=parallel, method="improvedtangent")
        neb.interpolate()
        BFGS(neb, logfile=None).run(fmax=0.0, steps=5)
        energies.append([image.get_potential_energy() for image in band[1:-1]])
    assert np.allclose(*energies, rtol=0, atol=1e-9)
    assert calc.report.pid == before
    assert len(worker_pids()) == 1


def test_twenty_calculators_at_once(make):
    calculators = [make("probe-misbehaving") for _ in range(20)]
    wrong = []

    def use(number: int) -> None:
        atoms = copper(1)
        for step in range(20):
            atoms.positions += 0.01 * number
            energy = calculators[number].get_potential_energy(atoms)
            if abs(energy - atoms.positions.sum()) > 1e-9:
                wrong.append((number, step))

    threads = [threading.Thread(target=use, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert len(worker_pids()) == 20


def energy_of(calc, shift: float) -> tuple[float, int, int]:
    """Return the energy and the process ids of this process and of its worker."""
    atoms = copper(1)
    atoms.positions += shift
    return float(calc.get_potential_energy(atoms)), os.getpid(), calc.report.pid


def expected(shifts):
    return [copper(1).positions.sum() + 12 * shift for shift in shifts]


SHIFTS = [0.0, 0.5, 1.0, 1.5]

LOKY = """
import os, sys
import joblib
from ase.build import bulk
from rootstock import RootstockCalculator

def energy_of(calc, shift):
    atoms = bulk("Cu", cubic=True)
    atoms.positions += shift
    return float(calc.get_potential_energy(atoms)), os.getpid(), calc.report.pid

with RootstockCalculator("probe-misbehaving", root=sys.argv[1], device="cpu") as calc:
    before = energy_of(calc, 0.0)
    shifts = [0.0, 0.5, 1.0, 1.5]
    with joblib.parallel_config(backend="loky", n_jobs=2):
        results = joblib.Parallel()(joblib.delayed(energy_of)(calc, shift) for shift in shifts)
    print([round(energy - before[0], 6) for energy, _, _ in results])
    print(all(pid != os.getpid() and worker != before[2] for _, pid, worker in results))
    print(energy_of(calc, 0.0) == before)
"""


def test_joblibs_loky(make, probe_root):
    """As in matcalc's calc_many(n_jobs=2). In a process of its own, because loky starts trackers."""
    make("probe-null").report  # builds the environment
    assert output_of(LOKY, probe_root) == "[0.0, 6.0, 12.0, 18.0]\nTrue\nTrue\n"


@pytest.mark.filterwarnings("ignore")
def test_dasks_distributed(make):
    from distributed import Client, LocalCluster

    calc = make("probe-misbehaving")
    before = energy_of(calc, 0.0)[2]
    with (
        LocalCluster(n_workers=2, threads_per_worker=2, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        futures = [client.submit(energy_of, calc, shift, pure=False) for shift in SHIFTS]
        results = client.gather(futures)
    assert [energy for energy, _, _ in results] == pytest.approx(expected(SHIFTS))
    assert all(pid != os.getpid() and worker != before for _, pid, worker in results)
    assert energy_of(calc, 1.0)[2] == before
