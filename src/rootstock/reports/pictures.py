"""Pictures of structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .svg import INK, drawing, inline_svg

if TYPE_CHECKING:
    from ..workflows.comparison import Comparison

__all__ = ["structure_figure"]

#: Atoms of a picture that are drawn as vectors; more become pixels.
_VECTORS = 150
_VIEW = "10x,-15y,0z"
#: Of atoms, relative to their covalent radii.
_RADII = 0.7


def structure_figure(comparison: Comparison, structure: int) -> str:
    """Return a structure twice: coloured by element, and by the disagreement about forces."""
    from ase import Atoms  # noqa: PLC0415  slow to import
    from ase.visualize.plot import plot_atoms  # noqa: PLC0415
    from matplotlib import colormaps  # noqa: PLC0415

    compared = comparison.structures[structure]
    atoms = Atoms(compared.numbers, compared.positions_A, cell=compared.cell_A, pbc=compared.pbc)
    std = comparison.forces_std_eV_per_A[structure]
    colours = colormaps["cividis"](np.nan_to_num(std / max(float(np.max(std)), 1e-12)))[:, :3]
    with drawing(5.2, 2.6) as figure:
        left, right = figure.subplots(1, 2)
        for axes, title, options in (
            (left, "element", {}),
            (right, "disagreement", {"colors": colours}),
        ):
            plot_atoms(atoms, axes, rotation=_VIEW, radii=_RADII, **options)
            _use_ink(axes, rasterized=len(atoms) > _VECTORS)
            axes.set_axis_off()
            axes.set_title(title)
        text = (
            f"Picture of {compared.formula}, {compared.name}: by element, and coloured by the "
            "disagreement about the force on each atom, brightest where it is largest"
        )
        return inline_svg(figure, f"structure{structure}", text)


def _use_ink(axes: Any, *, rasterized: bool) -> None:
    for patch in axes.patches:
        patch.set_edgecolor(INK)
        patch.set_linewidth(0.6)
        patch.set_rasterized(rasterized)
