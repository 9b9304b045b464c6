"""Results -> JSON, Markdown and a picture. ``python -m benchmarks.report`` updates the docs."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
from typing import TYPE_CHECKING

from .arms import HERE, TITLES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: The page that shows the tables of the last runs, each between two lines with its name.
DOCS = HERE.parent / "docs" / "benchmarks.md"
_BLOCK = re.compile(r"^<!-- (\w+) -->\n(.*?)^<!-- /\1 -->\n", re.MULTILINE | re.DOTALL)


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
    lines = [f"Measured on {results['machine']}; {threads} per process; medians of one run."]
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
        return [_added(by[kind, natoms]) for natoms in sizes]

    def title(kind: str) -> str:
        return "*direct call, total time*" if kind == "direct" else TITLES[kind]

    head = ["added time per call / ms", *(f"{n:,} atoms" for n in sizes)]
    return _table(head, ([title(kind), *cells(kind)] for kind in kinds))


def _added(row: dict) -> str:
    """Return an added time in ms; words where it is negative."""
    if row["median"] >= 0:
        return f"{row['median']:.3f} ± {row['spread']:.3f}"
    return "within the noise" if -row["median"] <= row["spread"] else "less than the direct call"


def _counts(counted: dict) -> list[str]:
    def cells(side: dict) -> list[str]:
        names = ", ".join(f"{name} {n:g}" for name, n in side["calls"].items())
        return [f"{side['total']:g} ({names})", f"{side['bytes']:,}"]

    head = [f"a step of {counted['natoms']} atoms", "main process: system calls", "bytes"]
    head += ["worker: system calls", "bytes"]
    arms = counted["arms"].items()
    return _table(head, ([TITLES[k], *cells(v["main"]), *cells(v["worker"])] for k, v in arms))


def _memory(rows: list[dict]) -> list[str]:
    head = ["resident memory / MiB", *(f"after {row['calls']:,} calls" for row in rows)]
    sides = {"main": "main process", "worker": "worker"}
    cells = ([title, *(f"{row[key] / 1024:.1f}" for row in rows)] for key, title in sides.items())
    return _table(head, cells)


def _imports(seconds: dict) -> list[str]:
    base = seconds["ase.calculators.calculator"]
    rows = ([f"`{k}`", f"{1e3 * v:.0f}", f"{v / base:.2f}"] for k, v in seconds.items())
    return _table(["import of", "ms", "ratio"], rows)


def _starts(measured: dict) -> list[str]:
    head = ["first energy / s", "plain script", "Rootstock", "a second worker"]
    rows = [
        [row["model"], *(f"{row[key]:.2f}" for key in ("direct", "first", "second"))]
        for row in measured["models"]
    ]
    null = (f"{TITLES[kind]} {seconds:.2f} s" for kind, seconds in measured["null"].items())
    return [*_table(head, rows), "", f"The model that returns zeros: {', '.join(null)}."]


def _dynamics(rows: list[dict]) -> list[str]:
    head = ["MD of 64 atoms", "", "steps / s"]
    cells = ([row["model"], TITLES[row["kind"]], f"{row['steps']:,.1f}"] for row in rows)
    return _table(head, cells, left=2)


def _models(rows: list[dict]) -> list[str]:
    head = ["model", "atoms", "direct / ms", "Rootstock / ms", "added / ms", "added / %"]
    head += ["time inside the model, ratio", "rounds"]
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


def _many(rows: list[dict]) -> list[str]:
    head = [
        "many structures of 4 to 64 atoms",
        "",
        "ms a structure",
        "speed, ASE loop = 1",
        "rounds",
    ]
    cells = (
        [
            row["model"],
            row["kind"],
            f"{row['milliseconds']:.3g}",
            f"{row['speed']:.2f} ± {row['spread']:.2f}",
            f"{row['rounds']} x {row['structures']}",
        ]
        for row in rows
        if "left_out" not in row
    )
    left_out = [f"\nLeft out: {row['left_out']}." for row in rows if "left_out" in row]
    return [*_table(head, cells, left=2), *left_out]


def _store(measured: dict) -> list[str]:
    title = f"{measured['natoms']} atoms, one structure at a time"
    head = [title, "ms a structure", "added", "KiB a structure"]
    times, sizes = measured["milliseconds"], measured["bytes"]
    cells = [
        [
            kind,
            f"{value:.3f}",
            f"{value - times['without']:.3f}" if kind in sizes else "",
            f"{sizes[kind] / 1024:.1f}" if kind in sizes else "",
        ]
        for kind, value in times.items()
    ]
    campaign = measured["campaign"]
    memory = ", ".join(f"{value:.0f} MiB at {n:,}" for n, value in measured["memory"])
    rest = [
        ["all looked up in the store", f"{measured['scan_seconds']:.2f} s"],
        ["second run, input included", f"{measured['restart_seconds']:.1f} s"],
        ["memory of the first run", memory],
    ]
    return [
        *_table(head, cells),
        "",
        *_table([f"campaign of {campaign:,} structures", ""], rest),
    ]


def _tasks(rows: list[dict]) -> list[str]:
    head = ["FIRE relaxations of 4 to 64 atoms", "", "ms a force call", "speed", "rounds"]
    cells = (
        [
            row["model"],
            row["kind"],
            f"{row['milliseconds']:.3g}",
            f"{row['speed']:.2f} ± {row['spread']:.2f} x {row['base']}",
            f"{row['rounds']} x {row['structures']}",
        ]
        for row in rows
    )
    return _table(head, cells, left=2)


_TABLES = {
    "way": _way,
    "counts": _counts,
    "memory": _memory,
    "imports": _imports,
    "starts": _starts,
    "dynamics": _dynamics,
    "models": _models,
    "many": _many,
    "store": _store,
    "tasks": _tasks,
}


def picture(rows: list[dict], path: Path) -> None:
    """Draw the added time of every arm against the number of atoms."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for kind in dict.fromkeys(row["kind"] for row in rows if row["kind"] != "direct"):
        arm_rows = [row for row in rows if row["kind"] == kind]
        shown = [row for row in arm_rows if row["median"] > 0]
        below = [f"{row['natoms']:,}" for row in arm_rows if row not in shown]
        label = TITLES[kind] + (f" (faster than direct at {', '.join(below)})" if below else "")
        style = "k:" if kind == "floor" else "o-"
        axes.plot([r["natoms"] for r in shown], [r["median"] for r in shown], style, label=label)
    axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel="added time per call / ms")
    axes.legend()
    axes.grid(visible=True, which="both", alpha=0.2)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def write(results: dict, folder: Path, name: str = "benchmark") -> dict:
    """Write ``{name}.json``, ``.md`` and, if all arms were measured, ``.png``; return all."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(results["device"]), **results}
    (folder / f"{name}.json").write_text(json.dumps(results, indent=2) + "\n")
    (folder / f"{name}.md").write_text(markdown(results))
    if "way" in results:
        picture(results["way"], folder / f"{name}.png")
    return results


def blocks(page: str) -> dict[str, str]:
    """Return the tables between marks such as ``<!-- many -->``, by the results' name."""
    return dict(_BLOCK.findall(page))


def update(page: Path, results: dict, name: str) -> None:
    """Put the tables between the two marks of that name, if a page of the docs has them."""

    def replaced(match: re.Match) -> str:
        if match[1] != name:
            return match[0]
        return f"<!-- {name} -->\n{markdown(results)}<!-- /{name} -->\n"

    page.write_text(_BLOCK.sub(replaced, page.read_text()))


if __name__ == "__main__":
    for shown in blocks(DOCS.read_text()):
        update(DOCS, json.loads((HERE / "results" / f"{shown}.json").read_text()), shown)
