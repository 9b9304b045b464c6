"""Reference results of structures."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from rootstock.errors import ConfigurationError
from rootstock.workflows.reference import find_reference
from tests.support.comparisons_of_models import crystals


def labelled(atoms, **results):
    copy = atoms.copy()
    copy.calc = SinglePointCalculator(copy, **results)
    return copy


def test_structures_may_carry_it():
    first, second = crystals(2)
    forces = np.ones((4, 3))
    known = find_reference([labelled(first, energy=-1.0, forces=forces), second])
    assert (known.energies, known.forces) == (1, 1)
    assert known.energies_eV[0] == -1 and np.isnan(known.energies_eV[1])
    np.testing.assert_array_equal(known.forces_eV_per_A[0], forces)
    assert known.forces_eV_per_A[1].shape == (8, 3)
    assert find_reference([first, second]) is None


def test_a_file_may_have_other_structures_and_another_order():
    images = crystals(4)
    reference = [labelled(atoms, energy=float(n)) for n, atoms in enumerate(images)][::-1]
    for atoms in reference:
        atoms.positions += 1e-5  # rounded in a file
    for atoms in reference:
        atoms.calc.atoms = atoms.copy()
    known = find_reference([*images, crystals(5)[4]], reference)
    np.testing.assert_array_equal(known.energies_eV, [0, 1, 2, 3, np.nan])
    assert known.forces == 0


def test_a_reference_without_results_or_with_other_structures_is_refused():
    images = crystals(2)
    with pytest.raises(ConfigurationError, match="no energies and forces"):
        find_reference(images, images)
    with pytest.raises(ConfigurationError, match="none of the structures"):
        find_reference(images[:1], [labelled(images[1], energy=1.0)])
