"""Which structures are accepted, and which are refused before a model sees them."""

from __future__ import annotations

import ase.calculators.calculator as asecalc
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from rootstock.errors import StructureError
from tests.support.comparisons import reference_results
from tests.support.structures import copper


@pytest.mark.parametrize(
    "atoms", [molecule("H2O"), bulk("Cu"), Atoms("Cu", cell=[3, 0, 0], pbc=(1, 0, 0))]
)
def test_any_dimension(reference, atoms):
    atoms = atoms.copy()
    atoms.calc = reference
    assert atoms.get_potential_energy() == reference_results(atoms, "energy")["energy"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_positions_that_are_not_finite_are_refused(make, bad):
    atoms = copper()
    atoms.calc = make()
    atoms.positions[3, 1] = bad
    with pytest.raises(StructureError, match="atom 3"):
        atoms.get_forces()
    atoms.positions[3, 1] = 0
    atoms.get_forces()
    atoms.cell[0, 0] = bad
    with pytest.raises(asecalc.InputError, match="cell"):
        atoms.get_forces()


def test_huge_but_finite_positions_are_fine(reference):
    atoms = copper()
    atoms.positions[:] = 1e300
    atoms.calc = reference
    assert atoms.get_potential_energy() == reference_results(atoms, "energy")["energy"]


def test_no_atoms_are_refused(make):
    atoms = Atoms()
    atoms.calc = make()
    with pytest.raises(StructureError, match="no atoms"):
        atoms.get_potential_energy()
    with pytest.raises(StructureError, match="no atoms were given"):
        make().get_property("energy")
