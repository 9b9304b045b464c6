"""A comparison as one HTML page."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from .figures import disagreement_figure, energy_figure, eos_figure, heat_map, parity_figure
from .pictures import structure_figure

if TYPE_CHECKING:
    from ..workflows.comparison import ComparedModel, Comparison

__all__ = ["as_html"]

#: Structures with pictures, and failures that are listed.
_OUTLIERS, _FAILURES = 6, 100
#: Characters of a digest that tell two apart.
_DIGEST = 12


def as_html(comparison: Comparison) -> str:
    """Return the page: text, style, script and figures in one document."""
    import jinja2  # noqa: PLC0415  an extra

    folder = files(__package__) / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "sortable": _sortable}
    template = environment.get_template("report.html.jinja")
    outliers = _outliers(comparison)
    page: str = template.render(
        comparison=comparison,
        summary=_summary(comparison),
        structures=_structures(comparison),
        figures=_figures(comparison, outliers),
        outliers=outliers,
        eos=_eos(comparison),
        failures=_failures(comparison),
        more_failures=max(0, len(comparison.failures) - _FAILURES),
        provenance=[_provenance(model) for model in comparison.models],
    )
    return page


def _number(value: Optional[float], digits: int = 3) -> str:
    """Return a number for a table cell; a dash for one that is not known."""
    if value is None or not np.isfinite(value):
        return "-"
    if 1000 <= abs(value) < 1e9:  # noqa: PLR2004  no exponent
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def _sortable(value: Optional[float]) -> str:
    """Return a number for the script that sorts tables; nothing for one that is not known."""
    return "" if value is None or not np.isfinite(value) else repr(float(value))


def _summary(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "statistics": statistics,
            "elements": _elements(model),
            "energy_mae": 1000 * statistics.energy_mae_eV_per_atom,
            "energy_rmse": 1000 * statistics.energy_rmse_eV_per_atom,
        }
        for model, statistics in zip(comparison.models, comparison.statistics)
    ]


def _elements(model: ComparedModel) -> str:
    few = 6
    if not model.elements:
        return "not stated"
    return ", ".join(model.elements) if len(model.elements) <= few else str(len(model.elements))


def _structures(comparison: Comparison) -> list[dict[str, Any]]:
    rows = []
    for s, structure in enumerate(comparison.structures):
        # a model with itself is no pair
        itself = np.eye(len(comparison.models), dtype=bool)
        pairs = np.where(itself, np.nan, comparison.pair_forces_rms_eV_per_A[s])
        widest = float(np.nanmax(pairs)) if not np.isnan(pairs).all() else float("nan")
        failed = [comparison.labels[f.model] for f in comparison.failures if f.structure == s]
        rows.append(
            {
                "structure": structure,
                "disagreement": comparison.forces_std_max_eV_per_A[s],
                "widest": widest,
                "pair": _pair(comparison, pairs, widest),
                "failed": ", ".join(failed),
            }
        )
    return rows


def _pair(comparison: Comparison, pairs: np.ndarray, widest: float) -> str:
    if not widest > 0:
        return ""
    first, second = np.unravel_index(np.nanargmax(pairs), pairs.shape)
    return f"{comparison.labels[int(first)]} / {comparison.labels[int(second)]}"


def _outliers(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the structures that models disagree about most, the first one most."""
    values = comparison.forces_std_max_eV_per_A
    order = [int(s) for s in np.argsort(-np.nan_to_num(values, nan=-1.0), kind="stable")]
    chosen = [s for s in order if values[s] > 0][:_OUTLIERS]
    outliers = []
    for s in chosen:
        from ase.data import chemical_symbols  # noqa: PLC0415  slow to import

        atom = int(np.argmax(comparison.forces_std_eV_per_A[s]))
        outliers.append(
            {
                "structure": comparison.structures[s],
                "disagreement": values[s],
                "atom": atom,
                "symbol": chemical_symbols[int(comparison.structures[s].numbers[atom])],
            }
        )
    return outliers


def _figures(comparison: Comparison, outliers: list[dict[str, Any]]) -> dict[str, Any]:
    has_pairs = not np.isnan(comparison.forces_std_max_eV_per_A).all()
    shown = [k for k, s in enumerate(comparison.statistics) if s.force_components]
    crystals = list(dict.fromkeys(c.structure for c in comparison.eos if c.result is not None))
    has_energies = comparison.energies.scheme != "none"
    return {
        "pairs": heat_map(comparison) if has_pairs else "",
        "disagreement": disagreement_figure(comparison) if has_pairs else "",
        "parity": [parity_figure(comparison, k) for k in shown],
        "energies": energy_figure(comparison) if has_energies else "",
        "eos": [eos_figure(comparison, s) for s in crystals],
        "outliers": [structure_figure(comparison, o["structure"].index) for o in outliers],
    }


def _eos(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "structure": comparison.structures[curve.structure],
            "label": comparison.labels[curve.model],
            "result": curve.result,
            "volume": None
            if curve.result is None
            else curve.result.V0_A3 / comparison.structures[curve.structure].natoms,
            "error": curve.error,
        }
        for curve in comparison.eos
    ]


def _failures(comparison: Comparison) -> list[dict[str, Any]]:
    return [
        {
            "label": comparison.labels[failure.model],
            "structure": comparison.structures[failure.structure],
            "error": failure.error,
        }
        for failure in comparison.failures[:_FAILURES]
    ]


def _short(value: Any, name: str) -> str:
    if name == "batch_deviation":
        return f"{value:.2g}"
    return str(value)[:_DIGEST] if name == "weights" else str(value)


def _provenance(model: ComparedModel) -> dict[str, Any]:
    """Return what is shown of a model's provenance, as text by name."""
    known = model.provenance
    shown: dict[str, str] = {}
    for name in ("environment", "build", "calculator", "device", "gpu", "python", "threads"):
        if known.get(name):
            shown[name] = str(known[name])
    for name in ("identity", "lock"):
        if known.get(name):
            shown[name] = str(known[name])[:_DIGEST]
    for name in ("settings", "precision", "packages", "weights", "batch_deviation"):
        if known.get(name):
            shown[name.replace("_", " ")] = ", ".join(
                f"{key} {_short(value, name)}" for key, value in known[name].items()
            )
    if known.get("evaluation"):
        shown["evaluation"] = "batches" if known["evaluation"] == "batch" else "one by one"
    return {"label": model.label, "shown": shown}
