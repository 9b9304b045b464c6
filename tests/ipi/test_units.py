"""The units of i-PI's protocol."""

from __future__ import annotations

import numpy as np
import pytest

from rootstock.ipi import units


def test_virial_and_stress_agree_with_their_definition():
    stress = np.array([1.0, 2, 3, 4, 5, 6])
    virial = units.stress_to_virial(stress, 10.0)
    assert virial[1, 2] == pytest.approx(-10 * 4 / units.HARTREE)
    assert np.allclose(units.virial_to_stress(virial, 10.0), stress)
    full = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    assert np.array_equal(units.stress_to_virial(full, 10.0), virial)


def test_cells_are_columns_on_the_wire():
    cell = np.arange(9.0).reshape(3, 3)
    assert units.cell_to_wire(cell)[0, 1] == cell[1, 0] / units.BOHR
    assert np.allclose(units.wire_to_cell(units.cell_to_wire(cell)), cell)
