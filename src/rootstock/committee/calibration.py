r"""From disagreement to uncertainty.

The factor is that of F. Musil et al., J. Chem. Theory Comput. 15, 906 (2019), doi
10.1021/acs.jctc.8b00959.

Let members :math:`y_k` be independent with mean :math:`\mu` and variance :math:`\sigma^2`, and the
truth :math:`y` have mean :math:`\mu` and variance :math:`\alpha^2\sigma^2`. The mean
:math:`\bar y` of M members has variance :math:`\sigma^2/M` and is independent of the sample
variance :math:`s^2` (ddof = 1), for which :math:`E[\sigma^2/s^2] = (M-1)/(M-3)`. So

.. math:: E\Big[\frac{(y-\bar y)^2}{s^2}\Big]
          = \Big(\alpha^2 + \frac1M\Big)\frac{M-1}{M-3}
          \;\Rightarrow\;
          \alpha^2 = -\frac1M + \frac{M-3}{M-1}\,\frac1n\sum_i\frac{(y_i-\bar y_i)^2}{s_i^2}.

With three members or fewer the expectation does not exist.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Calibration", "musil_factor"]

#: The smallest committee that can be calibrated.
MEMBERS = 4
#: Variances below this part of the median are left out: a thousandth of the typical spread.
_FLOOR = 1e-6


@dataclass(frozen=True)
class Calibration:
    """Factors from the sample standard deviation of a committee to its expected error.

    Attributes
    ----------
    alpha_energy, alpha_forces : float or None
        None where there was no reference.
    structures : int
        Reference structures.
    members : int
        Members of the committee.
    """

    alpha_energy: Optional[float]
    alpha_forces: Optional[float]
    structures: int
    members: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    def uncertainties(
        self, results: Mapping[str, Any], aligned: Optional[np.ndarray], natoms: int
    ) -> dict[str, Any]:
        """Return the calibrated uncertainties of a committee's results.

        Parameters
        ----------
        results : mapping
            Of :func:`rootstock.committee.combine`.
        aligned : ndarray of shape (M,) or None
            Energies of the members on one scale, in eV.
        natoms : int
            Number of atoms.

        Returns
        -------
        dict
            ``forces_uncertainty`` of shape ``(n,)`` in eV/Å: alpha times the root of the summed
            sample variances of the components; ``energy_uncertainty_per_atom`` in eV/atom.
        """
        found: dict[str, Any] = {}
        forces = results.get("forces_comm")
        if self.alpha_forces is not None and forces is not None:
            std = np.sqrt(forces.var(axis=0, ddof=1).sum(axis=1))
            found["forces_uncertainty"] = self.alpha_forces * std
        if self.alpha_energy is not None and aligned is not None:
            std = float(aligned.std(ddof=1)) / natoms
            found["energy_uncertainty_per_atom"] = self.alpha_energy * std
        return found


def musil_factor(members: np.ndarray, reference: np.ndarray, fitted: int = 0) -> float:
    """Return the factor alpha.

    Parameters
    ----------
    members : ndarray of shape (M, n)
        Values of M members.
    reference : ndarray of shape (n,)
        True values.
        Values whose members' spread is below a thousandth of the median are left out.
    fitted : int
        Parameters that were fitted to the differences, such as shifts of energies.

    Raises
    ------
    ConfigurationError
        Fewer than four members, no value about which members disagree, or a spread so large that
        the errors are smaller than that of a mean of independent members.
    """
    size = len(members)
    if size < MEMBERS:
        msg = (
            f"a committee of {size} can't be calibrated: the expectation that the factor is "
            f"derived from exists from {MEMBERS} members on"
        )
        raise ConfigurationError(msg)
    variance = members.var(axis=0, ddof=1)
    # forces that vanish by symmetry say nothing, and their rounding would decide the mean
    usable = variance > _FLOOR * float(np.median(variance))
    number = int(usable.sum()) - fitted
    if number < 1:
        msg = "there are too few values about which the members disagree: give more structures"
        raise ConfigurationError(msg)
    errors = (reference - members.mean(axis=0))[usable] ** 2
    ratio = float((errors / variance[usable]).sum() / number)
    squared = -1 / size + (size - 3) / (size - 1) * ratio
    if squared <= 0:
        msg = (
            "the members disagree more than the reference deviates from their mean (alpha² = "
            f"{squared:.3g}): give more reference structures"
        )
        raise ConfigurationError(msg)
    return float(squared**0.5)
