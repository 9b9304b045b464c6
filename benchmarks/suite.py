"""All measurements, as plain data."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from . import counts, starts
from .arms import Launcher, running
from .compare import added, milliseconds, take_turns
from .many import many
from .stores import stores
from .tasks import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NULL_SIZES = (32, 864, 10_976, 97_556)
MODEL_SIZES = (8, 64, 256, 1000)
#: Models measured on copper; the others on rock salt, whose few neighbours save memory.
METALS = ("null", "snap", "emt", "mace")
#: Arms of the model that returns zeros; added times are relative to the first.
NULL_KINDS = ("direct", "rootstock", "ase", "peer", "floor")
PARTS = ("way", "counts", "memory", "imports", "starts", "dynamics", "models")
#: Measured only where it is named.
OPTIONAL = ("many", "store", "tasks")
_MEMORY = (1000, 2000, 5000, 10_000)


def formula(model: str) -> str:
    """Return the material that a model is measured on: copper or rock salt."""
    return "Cu" if model.partition("-")[0] in METALS else "NaCl"


def way(launcher: Launcher, sizes: Iterable[int], seconds: float, kinds=NULL_KINDS) -> list[dict]:
    """Measure the model that returns zeros through every arm."""
    rows = []
    with running(launcher.null, kinds) as arms:
        for natoms in sizes:
            by_kind = take_turns(arms, "call", seconds, formula="Cu", natoms=natoms)
            direct = by_kind["direct"].whole
            zeros = [0.0] * len(direct)
            for kind, timings in by_kind.items():
                base = zeros if kind in ("direct", "floor") else direct
                more = asdict(added(timings.whole, base))
                row = {"kind": kind, "natoms": natoms, "rounds": len(direct)}
                rows.append({**row, "whole": milliseconds(timings.whole), **more})
    return rows


def models(
    launcher: Launcher, names: Iterable[str], sizes: Iterable[int], seconds: float
) -> list[dict]:
    """Measure real models, directly and through Rootstock.

    The added time is the difference of the times *outside* the model's ``calculate()``, which a
    stop-watch inside measures in the same calls: the model's own time scatters by far more.
    """
    rows = []
    for name in names:
        with running(partial(launcher.model, text=name), ("direct", "rootstock")) as arms:
            for natoms in sizes:
                by_kind = take_turns(arms, "call", seconds, formula=formula(name), natoms=natoms)
                rows.append({"model": name, "natoms": natoms, **_model_row(**by_kind)})
    return rows


def _model_row(direct, rootstock) -> dict:
    inside = [a / b for a, b in zip(rootstock.inside, direct.inside, strict=True)]
    low, ratio, high = statistics.quantiles(inside, n=4)
    more = added(rootstock.outside, direct.outside)
    whole = milliseconds(direct.whole)
    return {
        "rounds": len(inside),
        "direct": whole,
        "rootstock": milliseconds(rootstock.whole),
        "outside_direct": milliseconds(direct.outside),
        "outside_rootstock": milliseconds(rootstock.outside),
        "added": more.median,
        "spread": more.spread,
        "percent": 100 * more.median / whole,
        "inside_ratio": ratio,
        "inside_spread": (high - low) / 2,
    }


def dynamics(launcher: Launcher, names: Iterable[str], seconds: float) -> list[dict]:
    """Measure steps of velocity Verlet a second, 64 atoms."""
    rows = []
    for name in ("null", *names):
        kinds = ("direct", "rootstock", "ase", "peer") if name == "null" else NULL_KINDS[:2]
        model = partial(launcher.model, text=name, stopwatch=False)
        start = launcher.null if name == "null" else model
        with running(start, kinds) as arms:
            by_kind = take_turns(arms, "dynamics", seconds, formula=formula(name), natoms=64)
        rows += [
            {"model": name, "kind": kind, "steps": 1e3 / milliseconds(timings.whole)}
            for kind, timings in by_kind.items()
        ]
    return rows


def step_counts(
    launcher: Launcher, kinds: Iterable[str], natoms: int = 864, calls: int = 500
) -> dict:
    """Count system calls and bytes of a step."""
    by_kind = {}
    for kind in kinds:
        with running(launcher.null, (kind,)) as arms:
            by_kind[kind] = counts.count(arms[kind], calls, formula="Cu", natoms=natoms)
    return {"natoms": natoms, "arms": by_kind}


def memory(launcher: Launcher, calls: tuple[int, ...] = _MEMORY, natoms: int = 864) -> list[dict]:
    """Measure the resident memory of both sides over many calls."""
    with running(launcher.null, ("rootstock",)) as arms:
        return counts.growth(arms["rootstock"], calls, formula="Cu", natoms=natoms)


def run(
    launcher: Launcher,
    names: tuple[str, ...],
    seconds: float,
    parts: Iterable[str] = PARTS,
    announce: Callable[[str], object] = lambda _: None,
) -> dict:
    """Measure `parts` of :data:`PARTS`; return plain data."""
    socket_kinds = NULL_KINDS[1:4]
    table: dict[str, Callable] = {
        "way": lambda: way(launcher, NULL_SIZES, seconds),
        "counts": lambda: step_counts(launcher, socket_kinds) if counts.available() else {},
        "memory": lambda: memory(launcher),
        "imports": starts.imports,
        "starts": lambda: {
            "null": starts.null_starts(launcher, ("rootstock", "peer")),
            "models": [starts.first_energies(launcher, name) for name in names],
        },
        "dynamics": lambda: dynamics(launcher, names[:1], seconds),
        "models": lambda: models(launcher, names, MODEL_SIZES, seconds),
        "many": lambda: many(launcher, ("null", "emt", "snap-Cu", *names), seconds, formula),
        "store": lambda: stores(launcher),
        "tasks": lambda: tasks(launcher, ("emt", "snap-Cu", *names), seconds, formula),
    }
    results = {}
    for part in parts:
        announce(part)
        results[part] = table[part]()
    return results
