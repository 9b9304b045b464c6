"""A comparison as JSON and CSV, with the same data as the page."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from ..support.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..workflows.comparison import Comparison

__all__ = ["as_csv", "as_json"]

_COLUMNS = (
    "structure",
    "file",
    "frame",
    "formula",
    "natoms",
    "model",
    "energy_eV",
    "energy_deviation_eV_per_atom",
    "fmax_eV_per_A",
    "forces_rmse_eV_per_A",
    "forces_std_max_eV_per_A",
    "error",
)


def as_json(comparison: Comparison) -> str:
    """Return everything: the attributes of :class:`rootstock.Comparison`, arrays as lists."""
    document = plain(comparison)
    for model, described in zip(comparison.models, document["models"]):
        described["atoms_per_second"] = model.atoms_per_second
    return json.dumps(document) + "\n"


def as_csv(comparison: Comparison) -> str:
    """Return a row for each structure and model, with units in the names of the columns."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in _rows(comparison):
        writer.writerow({name: "" if value is None else value for name, value in row.items()})
    return stream.getvalue()


def _rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    errors = {(f.model, f.structure): f.error for f in comparison.failures}
    for s, structure in enumerate(comparison.structures):
        for k, model in enumerate(comparison.models):
            forces = comparison.forces_eV_per_A[s][k]
            squares = (forces - comparison.target_forces_eV_per_A[s]) ** 2
            yield plain(
                {
                    "structure": structure.index,
                    "file": structure.file,
                    "frame": structure.frame,
                    "formula": structure.formula,
                    "natoms": structure.natoms,
                    "model": model.label,
                    "energy_eV": comparison.energies_eV[k, s],
                    "energy_deviation_eV_per_atom": comparison.energies.deviations_eV_per_atom[
                        k, s
                    ],
                    "fmax_eV_per_A": np.linalg.norm(forces, axis=1).max(initial=-np.inf),
                    "forces_rmse_eV_per_A": np.sqrt(squares.mean()) if squares.size else np.nan,
                    "forces_std_max_eV_per_A": comparison.forces_std_max_eV_per_A[s],
                    "error": errors.get((k, s), model.reason),
                }
            )
