"""The figures of a report, each an SVG element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .svg import COLOURS, INK, MARKERS, STYLES, drawing, inline_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..workflows.comparison import Comparison

__all__ = [
    "disagreement_figure",
    "energy_figure",
    "eos_figure",
    "heat_map",
    "parity_figure",
]

#: Points of a parity plot that are drawn one by one; more become a density.
_POINTS = 1500
#: Brightness above which a text is dark.
_BRIGHT = 0.55


def heat_map(comparison: Comparison) -> str:
    """Return the force differences of all pairs of models."""
    labels, values = comparison.labels, comparison.pairs_eV_per_A
    size = len(labels)
    with drawing(1.9 + 0.75 * size, 1.3 + 0.55 * size) as figure:
        axes = figure.add_subplot()
        shown = np.ma.masked_invalid(np.where(np.eye(size, dtype=bool), np.nan, values))
        image = axes.imshow(shown, cmap="cividis", aspect="auto", vmin=0)
        axes.set_xticks(range(size), labels, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(size), labels)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        for row, column in np.ndindex(size, size):
            if row != column:
                _write_cell(axes, image, row, column, float(values[row, column]))
        bar = figure.colorbar(image, label="RMS of |ΔF| / eV/Å")
        bar.outline.set_visible(False)
        text = "Heat map: root mean square force difference of each pair of models, in eV/Å"
        return inline_svg(figure, "pairs", text)


def _write_cell(axes: Axes, image: Any, row: int, column: int, value: float) -> None:
    if np.isnan(value):
        axes.text(column, row, "none", ha="center", va="center", color=INK)
        return
    red, green, blue, _ = image.cmap(image.norm(value))
    is_bright = 0.299 * red + 0.587 * green + 0.114 * blue > _BRIGHT
    colour = "#000000" if is_bright else "#ffffff"
    axes.text(column, row, f"{value:.3g}", ha="center", va="center", color=colour)


def disagreement_figure(comparison: Comparison) -> str:
    """Return the largest disagreement about a force, for each structure."""
    values = comparison.forces_std_max_eV_per_A
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  an extra

    with drawing(8.4, 2.8) as figure:
        axes = figure.add_subplot()
        axes.bar(range(len(values)), np.nan_to_num(values), color=COLOURS[0], width=0.8)
        axes.set_xlabel("structure")
        axes.set_ylabel("max. disagreement / eV/Å")
        axes.set_xlim(-0.7, len(values) - 0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        text = "Bars: largest disagreement of the models about the force on an atom, by structure"
        return inline_svg(figure, "disagreement", text)


def parity_figure(comparison: Comparison, model: int) -> str:
    """Return the forces of a model against the reference or the mean."""
    pairs = [
        (np.ravel(target), np.ravel(forces[model]))
        for target, forces in zip(comparison.target_forces_eV_per_A, comparison.forces_eV_per_A)
    ]
    target, forces = (np.concatenate(parts) for parts in zip(*pairs))
    known = ~np.isnan(target) & ~np.isnan(forces)
    target, forces = target[known], forces[known]
    label = comparison.labels[model]
    statistics = comparison.statistics[model]
    with drawing(3.1, 3.0) as figure:
        axes = figure.add_subplot()
        if len(forces) > _POINTS:
            hexagons = axes.hexbin(target, forces, gridsize=60, bins="log", cmap="cividis")
            hexagons.set_rasterized(True)
        elif len(forces):
            axes.plot(
                target,
                forces,
                MARKERS[model % len(MARKERS)],
                ms=3,
                alpha=0.6,
                mew=0,
                color=COLOURS[model % len(COLOURS)],
                rasterized=len(forces) > _POINTS // 3,
            )
        reach = float(max(np.abs(target).max(initial=0.05), np.abs(forces).max(initial=0.05)))
        axes.axline((0, 0), slope=1, color=INK, lw=0.8, alpha=0.6)
        axes.set(xlim=(-1.05 * reach, 1.05 * reach), ylim=(-1.05 * reach, 1.05 * reach))
        axes.set_aspect("equal")
        axes.set_title(label)
        axes.set_xlabel(f"{comparison.forces_target} / eV/Å")
        axes.set_ylabel("model / eV/Å")
        numbers = (
            f"MAE {statistics.forces_mae_eV_per_A:.3g}\nRMSE {statistics.forces_rmse_eV_per_A:.3g}"
        )
        axes.text(0.04, 0.96, numbers, transform=axes.transAxes, va="top")
        text = (
            f"Parity plot: force components of {label} against the {comparison.forces_target}, "
            f"{len(forces)} components; {numbers} eV/Å"
        )
        return inline_svg(figure, f"parity{model}", text.replace("\n", ", "))


def energy_figure(comparison: Comparison) -> str:
    """Return the deviations of energies on one scale, for each structure and model."""
    deviations = 1000 * comparison.energies.deviations_eV_per_atom
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415  an extra

    with drawing(8.4, 3.2) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=INK, lw=0.8, alpha=0.6)
        for model, (label, values) in enumerate(zip(comparison.labels, deviations)):
            if not np.isnan(values).all():
                beside = 0.5 * ((model + 0.5) / len(deviations) - 0.5)  # points on each other
                axes.plot(
                    np.arange(len(values)) + beside,
                    values,
                    MARKERS[model % len(MARKERS)],
                    ms=4,
                    color=COLOURS[model % len(COLOURS)],
                    label=label,
                )
        axes.set_xlim(-0.7, deviations.shape[1] - 0.3)
        axes.set_xlabel("structure")
        axes.set_ylabel(f"ΔE from {comparison.energies.target} / meV/atom")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.legend(loc="outside upper left", ncols=3)
        text = (
            "Points: energies of the models on one scale, as deviations from the "
            f"{comparison.energies.target} in meV/atom, by structure"
        )
        return inline_svg(figure, "energies", text)


def eos_figure(comparison: Comparison, structure: int) -> str:
    """Return the equations of state of a crystal by all models, over each other."""
    natoms = comparison.structures[structure].natoms
    formula = comparison.structures[structure].formula
    with drawing(4.2, 3.4) as figure:
        axes = figure.add_subplot()
        for curve in comparison.eos:
            result = curve.result
            if curve.structure != structure or result is None:
                continue
            colour = COLOURS[curve.model % len(COLOURS)]
            volumes = np.linspace(result.volumes_A3.min(), result.volumes_A3.max(), 60)
            fitted = 1000 * (result.curve(volumes) - result.E0_eV) / natoms
            points = 1000 * (result.energies_eV - result.E0_eV) / natoms
            style = STYLES[curve.model % len(STYLES)]
            axes.plot(volumes / natoms, fitted, style, color=colour, lw=1.3)
            axes.plot(
                result.volumes_A3 / natoms,
                points,
                MARKERS[curve.model % len(MARKERS)],
                color=colour,
                ms=4,
                label=comparison.labels[curve.model],
            )
        axes.set_title(formula)
        axes.set_xlabel("volume / Å³/atom")
        axes.set_ylabel("E - E₀ / meV/atom")
        if axes.lines:
            axes.legend()
        text = f"Equations of state of {formula} by all models: energy per atom against volume"
        return inline_svg(figure, f"eos{structure}", text)
