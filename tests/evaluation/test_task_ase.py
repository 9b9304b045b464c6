"""ASE's optimizers, filters, dynamics and NEB as tasks: the same trajectories as in a plain loop."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from ase import units
from ase.build import add_adsorbate, fcc100
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter, StrainFilter, UnitCellFilter
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE, LBFGS, BFGSLineSearch

import rootstock
from rootstock import RootstockCalculator
from tests.support.tasks import count_requests, emt_root, rattled, same


@pytest.fixture
def root(tmp_path):
    return emt_root(tmp_path)


def fire(atoms):
    FIRE(atoms, logfile=None).run(fmax=0.01, steps=60)
    return atoms


def bfgs(atoms):
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=40)
    return atoms


def lbfgs(atoms):
    LBFGS(atoms, logfile=None).run(fmax=0.01, steps=40)
    return atoms


def line_search(atoms):
    BFGSLineSearch(atoms, logfile=None).run(fmax=0.01, steps=20)
    return atoms


def frechet(atoms):
    FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.05, steps=8)
    return atoms


def unit_cell(atoms):
    LBFGS(UnitCellFilter(atoms), logfile=None).run(fmax=0.05, steps=20)
    return atoms


def strain(atoms):
    BFGS(StrainFilter(atoms), logfile=None).run(fmax=0.05, steps=20)
    return atoms


def verlet(atoms):
    atoms.set_momenta(np.sin(np.arange(3.0 * len(atoms))).reshape(-1, 3))
    VelocityVerlet(atoms, timestep=2 * units.fs).run(30)
    return atoms


def langevin(atoms, rng):
    atoms.set_momenta(rng.normal(size=(len(atoms), 3)))
    dynamics = Langevin(
        atoms, timestep=2 * units.fs, temperature_K=300, friction=0.02, rng=rng, fixcm=False
    )
    dynamics.run(30)
    return atoms


def several(atoms):
    """Relax the positions, then the cell, then run dynamics with another cell."""
    fire(atoms)
    frechet(atoms)
    supercell = atoms * (1, 1, 2)
    supercell.calc = atoms.calc
    return [atoms.copy(), verlet(supercell)]


FUNCTIONS = [
    fire,
    bfgs,
    lbfgs,
    line_search,
    frechet,
    unit_cell,
    strain,
    verlet,
    langevin,
    several,
]


def plain_loop(function, structures, root, seed=0):
    """Return what the function returns with an ordinary calculator, one after the other."""
    values = []
    for index, source in enumerate(structures):
        atoms = source.copy()
        with RootstockCalculator("emt", root=root, device="cpu") as calc:
            atoms.calc = calc
            rng = {"rng": np.random.default_rng([seed, index])} if function is langevin else {}
            value = function(atoms, **rng)
            for images in value if isinstance(value, list) else [value]:
                if images.calc is not None:
                    energy, forces = images.get_potential_energy(), images.get_forces()
                    images.calc = SinglePointCalculator(images, energy=energy, forces=forces)
            values.append(value)
    return values


def last(value):
    return value[-1] if isinstance(value, list) else value


@pytest.mark.parametrize("function", FUNCTIONS)
def test_trajectories_are_those_of_the_plain_loop(function, root, monkeypatch):
    structures = rattled(3)
    expected = plain_loop(function, structures, root)
    before = [atoms.copy() for atoms in structures]
    requests = count_requests(monkeypatch)
    for options in ({"exact": True, "max_active": 3}, {"batch_atoms": 1000}):
        results = list(
            rootstock.map(
                function, structures, "emt", root=root, device="cpu", progress=False, **options
            )
        )
        assert [r.error for r in results] == [None] * 3
        assert all(same(last(r.value), last(e)) for r, e in zip(results, expected))
        steps = [r.steps for r in results]
        if "exact" in options:
            assert max(steps) <= len(requests) < sum(steps)
            assert sum(requests) == sum(steps)
        else:
            # and two checks of evaluate_batch(): a line search also asks for the free energy
            assert len(requests) <= max(steps) + 8
            assert all(r.provenance.evaluation == "batch" for r in results)
        requests.clear()
    assert structures == before
    assert all(atoms.calc is None for atoms in structures)


# --- NEB ------------------------------------------------------------------------------------------


def path(number):
    """Return slabs with an adsorbed atom, whose diffusion is a band."""
    slabs = []
    for seed in range(number):
        slab = fcc100("Al", size=(2, 2, 2))
        add_adsorbate(slab, "Au", 1.7, "hollow")
        slab.center(axis=2, vacuum=4.0)
        slab.set_constraint(FixAtoms(mask=[atom.tag > 1 for atom in slab]))
        slab.rattle(0.01, seed=seed)
        slabs.append(slab)
    return slabs


def band(initial, calculators, **options):
    final = initial.copy()
    final[-1].x += initial.get_cell()[0, 0] / 2
    images = [initial, *(initial.copy() for _ in range(3)), final]
    neb = NEB(images, method="improvedtangent", **options)
    neb.interpolate()
    for image, calculator in zip(images[1:], calculators):
        image.calc = calculator
    FIRE(neb, logfile=None).run(fmax=0.05, steps=15)
    return images


def neb_copies(atoms):
    calculators = [copy.copy(atoms.calc), *(copy.deepcopy(atoms.calc) for _ in range(3))]
    return band(atoms, calculators)


def neb_shared(atoms):
    return band(atoms, [atoms.calc] * 4, allow_shared_calculator=True)


def neb_threads(atoms):
    return band(atoms, [copy.copy(atoms.calc) for _ in range(4)], parallel=True)


@pytest.mark.parametrize("function", [neb_copies, neb_shared, neb_threads])
def test_neb(function, root, monkeypatch):
    slabs = path(3)
    expected = plain_loop(neb_copies, slabs, root)
    requests = count_requests(monkeypatch)
    results = list(
        rootstock.map(
            function, slabs, "emt", root=root, device="cpu", exact=True, max_active=3,
            progress=False,
        )
    )  # fmt: skip
    for result, images in zip(results, expected):
        for image, other in zip(result.value, images):
            assert np.array_equal(image.positions, other.positions)
    steps = [r.steps for r in results]
    assert min(steps) > 40
    if function is neb_threads:  # the first and the last image are the function's own thread's
        assert sum(requests) < sum(steps) / 10
    else:
        assert sum(requests) == sum(steps)
        assert len(requests) < sum(steps) / 2


def test_errors_in_threads_are_the_threads(root):
    def threads(atoms):
        import threading

        errors = []

        def call():
            try:
                atoms.get_forces()
            except Exception as error:
                errors.append(error)

        atoms.info["do"] = "raise"
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return errors

    (result,) = rootstock.map(threads, rattled(1), "emt", root=root, device="cpu", progress=False)
    assert [str(error) for error in result.value] == ["RuntimeError: as info said"]
