"""Measure what Rootstock costs: one command, tables and a picture."""

import argparse
import sys
from pathlib import Path

import platformdirs

from rootstock import find_root

from .arms import HERE, Place
from .report import markdown, write
from .suite import MODEL_SIZES, PARTS, models, run


def main() -> None:
    options = _options()
    place = Place(options.root or find_root().path, options.work, options.device, options.threads)
    names = tuple(options.models.split(","))
    if options.sizes:  # models alone, of these sizes: what a GPU machine is asked for
        rows = models(place, names, options.sizes, options.seconds)
        results = {"models": rows}
    else:
        parts = options.parts.split(",") if options.parts else PARTS
        results = run(
            place, names, options.seconds, parts, lambda part: print(part, file=sys.stderr)
        )
    results = {"device": options.device, "threads": options.threads, **results}
    print(markdown(write(results, options.out, options.name)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--root", type=Path, help="Rootstock's root; by default the user's own")
    work = platformdirs.user_cache_path("rootstock-benchmarks")
    parser.add_argument("--work", type=Path, default=work, help="where the peer is installed")
    parser.add_argument("--models", default="chgnet,sevennet,mace-random")
    parser.add_argument("--parts", help=f"some of {','.join(PARTS)}")
    sizes = ",".join(map(str, MODEL_SIZES))
    parser.add_argument(
        "--sizes", type=_sizes, help=f"measure the models alone, at these sizes; else {sizes}"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, ...")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0, help="about this long for each row")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--name", default="benchmark", help="of the files with the results")
    return parser.parse_args()


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
