"""Results -> JSON, Markdown and a picture."""

from __future__ import annotations

import json
import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def machine() -> str:
    """Name this machine in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{os.cpu_count()} {platform.machine()} cores"
    return f"a virtual machine with {cores} and {memory:.0f} GiB, {platform.system()}"


def markdown(results: dict) -> str:
    """Return the tables."""
    lines = [
        f"Measured on: {results['machine']}. One CPU thread, arms alternating, medians.",
        "",
        "| model | atoms | direct / ms | Rootstock / ms | added / ms | added / % | calls |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in results["rows"]:
        percent = "" if row["model"] == "null" else f"{row['percent']:.2f}"
        lines.append(
            f"| {row['model']} | {row['natoms']:,} | {row['direct']:.3f} | {row['rootstock']:.3f} "
            f"| {row['added']:.3f} ± {row['spread']:.3f} | {percent} | {row['calls']} |"
        )
    lines += [
        "",
        "| model | first energy / s | the same in a plain script / s |",
        "|---|---:|---:|",
    ]
    for start in results["starts"]:
        lines.append(f"| {start['model']} | {start['first_energy']:.2f} | {start['direct']:.2f} |")
    return "\n".join(lines) + "\n"


def picture(results: dict, path: Path) -> None:
    """Draw added time over number of atoms."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for model in dict.fromkeys(row["model"] for row in results["rows"]):
        rows = [row for row in results["rows"] if row["model"] == model]
        atoms = [row["natoms"] for row in rows]
        axes.plot(atoms, [row["rootstock"] for row in rows], "o-", label=f"{model}, Rootstock")
        axes.plot(atoms, [row["direct"] for row in rows], "x--", label=f"{model}, direct")
    axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel="time of a call / ms")
    axes.legend()
    axes.grid(visible=True, which="both", alpha=0.2)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def write(results: dict, folder: Path) -> None:
    """Write ``overhead.json``, ``overhead.md`` and ``overhead.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), **results}
    (folder / "overhead.json").write_text(json.dumps(results, indent=2) + "\n")
    (folder / "overhead.md").write_text(markdown(results))
    picture(results, folder / "overhead.png")
