"""Equations of state."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.eos import birchmurnaghan
from ase.units import GPa

from rootstock.errors import ConfigurationError
from rootstock.workflows.eos import VOLUME_RATIOS, fit_eos, scaled_crystals


def test_the_parameters_of_exact_energies_are_found_again():
    volumes = 40 * np.array(VOLUME_RATIOS)
    energies = birchmurnaghan(volumes, -14.0, 140 * GPa, 4.7, 41.3)
    result = fit_eos(volumes, energies)
    assert pytest.approx(41.3, rel=1e-6) == result.V0_A3
    assert result.B0_GPa == pytest.approx(140, rel=1e-5)
    assert result.B0_prime == pytest.approx(4.7, rel=1e-4)
    assert result.E0_eV == pytest.approx(-14, rel=1e-8)
    np.testing.assert_allclose(result.curve(volumes), energies, atol=1e-8)


def test_crystals_are_scaled_with_their_fractional_coordinates():
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    images = scaled_crystals(atoms)
    assert len(images) == len(VOLUME_RATIOS)
    for image, ratio in zip(images, VOLUME_RATIOS):
        assert image.get_volume() == pytest.approx(ratio * atoms.get_volume())
        np.testing.assert_allclose(
            image.get_scaled_positions(), atoms.get_scaled_positions(), atol=1e-12
        )
    assert atoms.get_volume() == pytest.approx(5.64**3 / 4)


def test_energies_without_a_minimum_within_the_volumes_are_refused():
    volumes = np.linspace(30, 40, 7)
    with pytest.raises(ConfigurationError, match="no minimum within the volumes"):
        fit_eos(volumes, volumes)
    with pytest.raises(ConfigurationError, match="at least 5"):
        fit_eos(volumes[:4], volumes[:4] ** 2)
