"""Measure what Rootstock adds to a call, and write a table and a picture."""

import argparse
from pathlib import Path

from rootstock import find_root

from .overhead import HERE, run
from .report import write

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("--root", type=Path, default=None, help="root folder")
parser.add_argument("--models", default="chgnet", help="model strings, separated by commas")
parser.add_argument("--seconds", type=float, default=20.0, help="about this long for each size")
parser.add_argument("--out", type=Path, default=HERE / "results", help="where the results go")
arguments = parser.parse_args()
place = find_root(arguments.root).path
results = run(place, tuple(arguments.models.split(",")), arguments.seconds)
write(results, arguments.out)
print((arguments.out / "overhead.md").read_text())
