"""Measure Rootstock's overhead: one command, tables and a picture."""

import argparse
import sys
from pathlib import Path

import platformdirs

from rootstock import find_root

from .arms import HERE, Launcher
from .report import DOCS, markdown, update, write
from .suite import MODEL_SIZES, OPTIONAL, PARTS, models, run


def main() -> None:
    options = _options()
    root = options.root or find_root().path
    launcher = Launcher(root, options.work, options.device, options.threads)
    names = tuple(options.models.split(","))
    if options.sizes:  # models alone, of these sizes: for a machine with a GPU
        rows = models(launcher, names, options.sizes, options.seconds)
        results = {"models": rows}
    else:
        parts = options.parts.split(",") if options.parts else PARTS
        results = run(
            launcher, names, options.seconds, parts, lambda part: print(part, file=sys.stderr)
        )
    results = {"device": options.device, "threads": options.threads, **results}
    results = write(results, options.out, options.name)
    if options.name != "benchmark" or set(PARTS) <= set(results):  # of all parts, or of others
        update(DOCS, results, options.name)
    print(markdown(results))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--root", type=Path, help="Rootstock's root; by default the one that is configured"
    )
    work = platformdirs.user_cache_path("rootstock-benchmarks")
    parser.add_argument(
        "--work", type=Path, default=work, help="folder for the packages that are compared"
    )
    parser.add_argument("--models", default="chgnet,sevennet,mace-random")
    parser.add_argument("--parts", help=f"some of {','.join((*PARTS, *OPTIONAL))}")
    sizes = ",".join(map(str, MODEL_SIZES))
    parser.add_argument(
        "--sizes", type=_sizes, help=f"measure the models alone, at these sizes; else {sizes}"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="time for each row, about")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--name", default="benchmark", help="name of the result files")
    return parser.parse_args()


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
