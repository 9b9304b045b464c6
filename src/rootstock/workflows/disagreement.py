"""How far models are from each other and from a reference: arrays in, arrays out."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from ..committee.alignment import composition_matrix, fit_alignment
from ..committee.statistics import combine
from ..errors import ConfigurationError
from .comparison import EnergyComparison, ErrorStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "align_energies",
    "error_statistics",
    "force_disagreement",
    "mean_forces",
    "pair_differences",
]

#: Models of which one can say that they disagree.
_PAIR = 2


def pair_differences(forces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    r"""Return how far the forces of each pair of models are from each other.

    For models a and b it is :math:`\sqrt{\langle |F_{a,i} - F_{b,i}|^2\rangle_i}`.

    Parameters
    ----------
    forces : sequence of ndarray of shape (M, n, 3)
        Forces of each structure in eV/Å; NaN where a model has none.

    Returns
    -------
    per_structure : ndarray of shape (S, M, M)
        The mean is over the atoms of a structure; NaN unless both models evaluated it.
    total : ndarray of shape (M, M)
        The mean is over the atoms of all structures that both models evaluated.
    """
    squares = [((f[:, None] - f[None]) ** 2).sum(axis=(2, 3)) for f in forces]
    sizes = np.array([f.shape[1] for f in forces])
    stacked = np.stack(squares)
    per_structure = np.sqrt(stacked / sizes[:, None, None])
    known = ~np.isnan(stacked)
    atoms = np.tensordot(sizes, known, 1).astype(float)
    atoms[atoms == 0] = np.nan
    total = np.sqrt(np.where(known, stacked, 0).sum(axis=0) / atoms)
    return per_structure, total


def force_disagreement(forces: np.ndarray) -> np.ndarray:
    """Return the committee's ``forces_std`` of a structure, shape (n,), in eV/Å.

    The models that have forces for the structure count; NaN if these are fewer than two.
    """
    members = forces[~np.isnan(forces).any(axis=(1, 2))]
    if len(members) < _PAIR:
        return np.full(forces.shape[1], np.nan)
    std: np.ndarray = combine([{"forces": member} for member in members])["forces_std"]
    return std


def mean_forces(forces: Sequence[np.ndarray], models: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Return the mean forces of some models for each structure; NaN unless all have some."""
    if len(models) < _PAIR:
        return tuple(np.full(f.shape[1:], np.nan) for f in forces)
    return tuple(f[list(models)].mean(axis=0) for f in forces)


def error_statistics(
    forces: Sequence[np.ndarray], target: Sequence[np.ndarray], energies: np.ndarray
) -> ErrorStatistics:
    """Return a model's mean absolute and root mean square deviations.

    Parameters
    ----------
    forces, target : sequence of ndarray of shape (n, 3)
        Those of the model and what they are compared with, in eV/Å; NaN where there are none.
    energies : ndarray of shape (S,)
        Deviations of energies in eV/atom; NaN where there are none.
    """
    differences = [np.ravel(f - t) for f, t in zip(forces, target)]
    components = np.concatenate(differences) if differences else np.empty(0)
    components = components[~np.isnan(components)]
    energies = energies[~np.isnan(energies)]
    return ErrorStatistics(
        *_mae_rmse(components), len(components), *_mae_rmse(energies), len(energies)
    )


def _mae_rmse(deviations: np.ndarray) -> tuple[float, float]:
    if not len(deviations):
        return float("nan"), float("nan")
    return float(np.abs(deviations).mean()), float(np.sqrt((deviations**2).mean()))


def align_energies(
    labels: Sequence[str],
    energies: np.ndarray,
    numbers: Sequence[np.ndarray],
    reference: Optional[np.ndarray] = None,
) -> EnergyComparison:
    """Put the energies of models on one scale, and compare them with a reference or their mean.

    Parameters
    ----------
    labels : sequence of str
        The models' names.
    energies : ndarray of shape (M, S)
        In eV; NaN where there is none. A model without any energy is left out.
    numbers : sequence of ndarray
        Atomic numbers of each structure.
    reference : ndarray of shape (S,), optional
        Energies in eV on a scale of their own; NaN where there is none.
    """
    names, rows = [*labels], energies
    if reference is not None:
        names, rows = [*labels, "reference"], np.vstack([energies, reference])
    members = [k for k, row in enumerate(rows) if not np.isnan(row).all()]
    common = np.flatnonzero(~np.isnan(rows[members]).any(axis=0)).tolist()
    target = "mean" if reference is None else "reference"
    deviations = np.full(energies.shape, np.nan)
    if len(members) < _PAIR or not len(common):
        text = "No energies are compared: no structure has an energy from all of the models"
        text += " that ran." if reference is None else " that ran and from the reference."
        return EnergyComparison("none", target, text, deviations)
    some = rows[members][:, common]
    species = [numbers[s] for s in common]
    scaled, scheme, text, alignment = _on_one_scale([names[k] for k in members], some, species)
    origin = scaled.mean(axis=0) if reference is None else scaled[-1]
    sizes = np.array([len(z) for z in species])
    for row, k in enumerate(members):
        if k < len(deviations):
            deviations[k, common] = (scaled[row] - origin) / sizes
    if np.isnan(deviations).all():
        scheme = "none"
    return EnergyComparison(scheme, target, text, deviations, alignment)


def _on_one_scale(
    names: list[str], energies: np.ndarray, numbers: list[np.ndarray]
) -> tuple[np.ndarray, str, str, Optional[dict[str, Any]]]:
    """Return energies on one scale, the scheme, what it means, and the alignment."""
    try:
        alignment = fit_alignment(names, energies, numbers)
    except ConfigurationError:
        why = f"{len(numbers)} structures are too few for a fit of shifts for each element"
        return _within_compositions(energies, numbers, why)
    if not alignment.is_complete:
        why = (
            f"the compositions can't tell {len(alignment.elements)} elements apart (rank "
            f"{alignment.rank})"
        )
        return _within_compositions(energies, numbers, why)
    counts = composition_matrix(numbers, alignment.elements)
    scaled = energies - np.array(alignment.shifts_eV) @ counts.T
    text = (
        "Energies are aligned per element: for each model and element a shift was fitted by "
        f"least squares to {len(numbers)} structures."
    )
    return scaled, "per element", text, alignment.as_dict()


def _within_compositions(
    energies: np.ndarray, numbers: list[np.ndarray], why: str
) -> tuple[np.ndarray, str, str, None]:
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, species in enumerate(numbers):
        groups[tuple(sorted(species.tolist()))].append(index)
    scaled = np.full(energies.shape, np.nan)
    for group in groups.values():
        if len(group) >= _PAIR:
            part = energies[:, group]
            scaled[:, group] = part - part.mean(axis=1, keepdims=True)
    text = (
        f"Energies are compared only within one composition, because {why}: from each model's "
        "energies their mean over the structures of that composition is subtracted. A structure "
        "that is the only one of its composition has no value."
    )
    return scaled, "per composition", text, None
