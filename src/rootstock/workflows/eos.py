"""Equations of state: energies of a crystal at several volumes, and a fit to them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.eos import EquationOfState, birchmurnaghan
from ase.units import GPa

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

__all__ = ["VOLUME_RATIOS", "EOSResult", "fit_eos", "scaled_crystals"]

#: Volumes of an equation of state, relative to that of the structure.
VOLUME_RATIOS = (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12)
#: Parameters of the fit: energies, one more than that would leave nothing to fit.
_PARAMETERS = 4


@dataclass(frozen=True)
class EOSResult:
    """A Birch-Murnaghan equation of state.

    Attributes
    ----------
    volumes_A3, energies_eV : ndarray of shape (n,)
        Of the cell.
    V0_A3 : float
        Volume of the cell at the minimum.
    B0_GPa, B0_prime : float
        Bulk modulus there, and its derivative with respect to the pressure.
    E0_eV : float
        Energy of the cell at the minimum.
    """

    volumes_A3: np.ndarray  # noqa: N815  the unit's symbol
    energies_eV: np.ndarray  # noqa: N815
    V0_A3: float
    B0_GPa: float
    B0_prime: float
    E0_eV: float

    def curve(self, volumes_A3: np.ndarray) -> np.ndarray:  # noqa: N803
        """Return the fitted energies at volumes, in eV."""
        values: Any = birchmurnaghan(
            volumes_A3, self.E0_eV, self.B0_GPa * GPa, self.B0_prime, self.V0_A3
        )
        return np.asarray(values)


def scaled_crystals(atoms: Atoms, ratios: Sequence[float] = VOLUME_RATIOS) -> list[Atoms]:
    """Return a crystal at several volumes, relative to its own; fractional coordinates stay."""
    crystals = []
    for ratio in ratios:
        crystal = atoms.copy()
        crystal.set_cell(atoms.cell * ratio ** (1 / 3), scale_atoms=True)
        crystals.append(crystal)
    return crystals


def fit_eos(volumes_A3: np.ndarray, energies_eV: np.ndarray) -> EOSResult:  # noqa: N803
    """Fit the Birch-Murnaghan equation of state.

    Parameters
    ----------
    volumes_A3, energies_eV : ndarray of shape (n,)
        At least five.

    Raises
    ------
    ConfigurationError
        Too few energies, or they have no minimum within the volumes.
    """
    if len(volumes_A3) <= _PARAMETERS:
        msg = f"an equation of state needs at least 5 energies, not {len(volumes_A3)}"
        raise ConfigurationError(msg)
    if np.argmin(energies_eV) in (0, len(energies_eV) - 1):
        msg = "the energy has no minimum within the volumes"
        raise ConfigurationError(msg)
    equation = EquationOfState(volumes_A3, energies_eV, eos="birchmurnaghan")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the covariance, which is not used
            volume, energy, modulus = equation.fit(warn=False)
    except (RuntimeError, ValueError) as error:  # SciPy's fit, and ASE's first guess
        msg = f"the equation of state can't be fitted: {error}"
        raise ConfigurationError(msg) from error
    return EOSResult(
        volumes_A3=np.asarray(volumes_A3, float),
        energies_eV=np.asarray(energies_eV, float),
        V0_A3=float(volume),
        B0_GPa=float(modulus / GPa),
        B0_prime=float(equation.eos_parameters[2]),
        E0_eV=float(energy),
    )
