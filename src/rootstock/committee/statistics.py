r"""Mean results of several models, and how far they disagree.

With weights :math:`w_k` that sum to one (:math:`1/M` by default), for each property :math:`x`

.. math:: \langle x \rangle = \sum_k w_k x_k, \qquad
          \mathrm{var}(x) = \sum_k w_k (x_k - \langle x \rangle)^2,

the population variance (ddof = 0). The disagreement of forces is that of DeePMD's model deviation,
for each atom :math:`i`

.. math:: \sigma_i = \sqrt{\sum_k w_k |\mathbf F_{k,i} - \langle \mathbf F_i \rangle|^2}.

Names of the arrays of members and of variances are those of MACE's calculator. The spread of
uncalibrated models is disagreement, not an error bar.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

from ..errors import ConfigurationError
from ..properties import PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..protocol.data import Results

__all__ = ["combine", "normalised", "relative_energy_std"]

#: Shapes of properties that are numbers.
_NUMBER = ((), (1,))
#: Energies of different models are on different scales: their variance needs an alignment.
_SCALED = ("energy", "free_energy", "energies")


def normalised(weights: Optional[Sequence[float]], members: int) -> np.ndarray:
    """Return weights that sum to one.

    Raises
    ------
    ConfigurationError
        There is not one weight for each member, or one is negative or not finite, or all are zero.
    """
    if weights is None:
        return np.full(members, 1.0 / members)
    array = np.asarray(weights, float)
    if array.shape != (members,):
        msg = f"{members} members need {members} weights, not {array.size}"
        raise ConfigurationError(msg)
    if not np.isfinite(array).all() or (array < 0).any() or array.sum() <= 0:
        msg = f"weights must be positive numbers, not {array.tolist()}"
        raise ConfigurationError(msg)
    normal: np.ndarray = array / array.sum()
    return normal


def combine(
    results: Sequence[Results],
    weights: Optional[Sequence[float]] = None,
    aligned: Optional[np.ndarray] = None,
    natoms: int = 1,
) -> dict[str, Any]:
    """Return the committee's results.

    Parameters
    ----------
    results : sequence of dict
        Those of each member, in ASE's units.
    weights : sequence of float, optional
        One for each member; equal by default.
    aligned : ndarray of shape (M,), optional
        Energies of the members on one scale, in eV.
    natoms : int
        Number of atoms n, for the energy per atom.

    Returns
    -------
    dict
        For each property that all members have, as float64: its mean under its own name,
        ``<name>_comm`` of shape ``(M, ...)``, and, but for energies, ``<name>_var``. Stress has
        Voigt order (6,). For forces (eV/Å) also ``forces_std`` of shape ``(n,)`` and its
        ``forces_std_max`` and ``forces_std_mean``; for stress ``stress_std``. With `aligned` also
        ``energy_var`` (eV²) and ``energy_std_per_atom`` (eV/atom). ``committee_size`` is M.
    """
    share = normalised(weights, len(results))
    combined: dict[str, Any] = {}
    for name in PROPERTIES:
        stacked = _stacked(name, results)
        if stacked is None:
            continue
        mean = np.mean(stacked, axis=0) if weights is None else np.tensordot(share, stacked, 1)
        combined[name] = mean[()]
        combined[f"{name}_comm"] = stacked
        if name not in _SCALED:
            combined[f"{name}_var"] = _variance(stacked, mean, share)[()]
    if "forces_var" in combined:
        std = np.sqrt(combined["forces_var"].sum(axis=1))
        combined |= {"forces_std": std, "forces_std_max": float(std.max())}
        combined["forces_std_mean"] = float(std.mean())
    if "stress_var" in combined:
        combined["stress_std"] = np.sqrt(combined["stress_var"])
    if aligned is not None and "energy" in combined:
        variance = float(_variance(aligned, share @ aligned, share))
        combined["energy_var"] = variance
        combined["energy_std_per_atom"] = variance**0.5 / natoms
    combined["committee_size"] = len(results)
    return combined


def _stacked(name: str, results: Sequence[Results]) -> Optional[np.ndarray]:
    """Return a property of all members in one array; None if one lacks it."""
    if not all(name in entry for entry in results):
        return None
    arrays = [np.asarray(entry[name], np.float64) for entry in results]
    if name == "stress":
        arrays = [full_3x3_to_voigt_6_stress(a) if a.shape == (3, 3) else a for a in arrays]
    if PROPERTIES[name].shapes == _NUMBER:
        arrays = [array.reshape(()) for array in arrays]
    if len({array.shape for array in arrays}) > 1:  # magnetic moments as numbers and as vectors
        return None
    return np.stack(arrays)


def _variance(stacked: np.ndarray, mean: Any, share: np.ndarray) -> np.ndarray:
    squares: np.ndarray = np.tensordot(share, (stacked - mean) ** 2, 1)
    return squares


def relative_energy_std(energies: np.ndarray, numbers: Sequence[np.ndarray]) -> np.ndarray:
    """Return the disagreement about energy differences between structures of one composition.

    Energies of different models are on different scales, which cancel in differences within a
    composition: each member's mean over the structures of that composition is subtracted.

    Parameters
    ----------
    energies : ndarray of shape (M, S)
        Energies of M members for S structures, in eV.
    numbers : sequence of ndarray
        Atomic numbers of each structure.

    Returns
    -------
    ndarray of shape (S,)
        Standard deviation over members (ddof = 0), in eV/atom; NaN for a structure that is the only
        one of its composition.
    """
    energies = np.asarray(energies, float)
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, species in enumerate(numbers):
        groups[tuple(sorted(np.asarray(species).tolist()))].append(index)
    spread = np.full(energies.shape[1], np.nan)
    for composition, members in groups.items():
        if len(members) > 1:
            part = energies[:, members]
            relative = part - part.mean(axis=1, keepdims=True)
            spread[members] = relative.std(axis=0) / len(composition)
    return spread
