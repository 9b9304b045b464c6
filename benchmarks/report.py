"""Results -> JSON, Markdown and a picture."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from typing import TYPE_CHECKING

from .arms import TITLES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def machine(device: str = "cpu") -> str:
    """Name this machine in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{os.cpu_count()} {platform.machine()} cores"
    gpu = ""
    if device.startswith("cuda"):
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        gpu = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        gpu = f" and {gpu.splitlines()[0]}"
    return f"a virtual machine with {cores}, {memory:.0f} GiB{gpu}, {platform.system()}"


def markdown(results: dict) -> str:
    """Return the tables of the parts that were measured."""
    threads = "one CPU thread" if results["threads"] == 1 else f"{results['threads']} CPU threads"
    lines = [f"Measured on {results['machine']}; {threads} a process; medians of one run."]
    for part, table in _TABLES.items():
        if results.get(part):
            lines += ["", *table(results[part])]
    return "\n".join(lines) + "\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], left: int = 1) -> list[str]:
    head = list(head)
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return [f"| {' | '.join(row)} |" for row in (head, rule, *map(list, rows))]


def _way(rows: list[dict]) -> list[str]:
    sizes = list(dict.fromkeys(row["natoms"] for row in rows))
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    by = {(row["kind"], row["natoms"]): row for row in rows}

    def cells(kind: str) -> list[str]:
        found = [by[kind, n] for n in sizes]
        return [f"{row['median']:.3f} ± {row['spread']:.3f}" for row in found]

    def title(kind: str) -> str:
        return "*direct call, in all*" if kind == "direct" else TITLES[kind]

    head = ["added a call / ms", *(f"{n:,} atoms" for n in sizes)]
    return _table(head, ([title(kind), *cells(kind)] for kind in kinds))


def _counts(found: dict) -> list[str]:
    def side(counted: dict) -> list[str]:
        names = ", ".join(f"{name} {n:g}" for name, n in counted["calls"].items())
        return [f"{counted['total']:g} ({names})", f"{counted['bytes']:,}"]

    head = [f"a step of {found['natoms']} atoms", "host: system calls", "bytes"]
    head += ["worker: system calls", "bytes"]
    arms = found["arms"].items()
    return _table(head, ([TITLES[k], *side(v["host"]), *side(v["worker"])] for k, v in arms))


def _memory(rows: list[dict]) -> list[str]:
    head = ["resident memory / MiB", *(f"after {row['calls']:,} calls" for row in rows)]
    sides = ("host", "worker")
    return _table(head, ([side, *(f"{row[side] / 1024:.1f}" for row in rows)] for side in sides))


def _imports(found: dict) -> list[str]:
    base = found["ase.calculators.calculator"]
    rows = ([f"`{k}`", f"{1e3 * v:.0f}", f"{v / base:.2f}"] for k, v in found.items())
    return _table(["import of", "ms", "ratio"], rows)


def _starts(found: dict) -> list[str]:
    head = ["first energy / s", "plain script", "Rootstock", "a second worker"]
    rows = [
        [row["model"], *(f"{row[key]:.2f}" for key in ("direct", "first", "second"))]
        for row in found["models"]
    ]
    null = (f"{TITLES[kind]} {seconds:.2f} s" for kind, seconds in found["null"].items())
    return [*_table(head, rows), "", f"The null model: {', '.join(null)}."]


def _dynamics(rows: list[dict]) -> list[str]:
    head = ["steps of MD a second, 64 atoms", "", "steps / s"]
    cells = ([row["model"], TITLES[row["kind"]], f"{row['steps']:,.1f}"] for row in rows)
    return _table(head, cells, left=2)


def _models(rows: list[dict]) -> list[str]:
    head = ["model", "atoms", "direct / ms", "Rootstock / ms", "added / ms", "added / %"]
    head += ["inside the model, ratio", "rounds"]
    cells = (
        [
            row["model"],
            f"{row['natoms']:,}",
            f"{row['direct']:.2f}",
            f"{row['rootstock']:.2f}",
            f"{row['added']:.3f} ± {row['spread']:.3f}",
            f"{row['percent']:.3f}",
            f"{row['inside_ratio']:.3f} ± {row['inside_spread']:.3f}",
            str(row["rounds"]),
        ]
        for row in rows
    )
    return _table(head, cells)


_TABLES = {
    "way": _way,
    "counts": _counts,
    "memory": _memory,
    "imports": _imports,
    "starts": _starts,
    "dynamics": _dynamics,
    "models": _models,
}


def picture(rows: list[dict], path: Path) -> None:
    """Draw the added time over the number of atoms for every arm."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for kind in dict.fromkeys(row["kind"] for row in rows if row["kind"] != "direct"):
        mine = [row for row in rows if row["kind"] == kind]
        shown = [row for row in mine if row["median"] > 0]
        below = [f"{row['natoms']:,}" for row in mine if row not in shown]
        label = TITLES[kind] + (f" (faster than direct at {', '.join(below)})" if below else "")
        style = "k:" if kind == "floor" else "o-"
        axes.plot([r["natoms"] for r in shown], [r["median"] for r in shown], style, label=label)
    axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel="added time a call / ms")
    axes.legend()
    axes.grid(visible=True, which="both", alpha=0.2)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def write(results: dict, folder: Path, name: str = "benchmark") -> dict:
    """Write ``{name}.json``, ``.md`` and, of all arms, ``.png``; return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(results["device"]), **results}
    (folder / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n")
    (folder / f"{name}.md").write_text(markdown(results))
    if "way" in results:
        picture(results["way"], folder / f"{name}.png")
    return results
