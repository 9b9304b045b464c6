"""Python code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

CALL = """
import sys
from ase.build import bulk
from rootstock import RootstockCalculator
atoms = bulk("Cu")
atoms.info["name"] = "caf\\u00e9 \\U0001f600"
with RootstockCalculator("probe-misbehaving", root=sys.argv[1], device="cpu") as calc:
    atoms.calc = calc
    print(atoms.get_forces().shape, calc.report.pid > 0)
"""


#: Options of Python.
WARNINGS_ARE_ERRORS = ("-W", "error")


def run_script(code: str, *arguments, before=(), options=(), timeout=120, **popen):
    """Run Python code; `before` is a command that starts Python, `options` are options of Python."""
    return subprocess.run(
        [*before, sys.executable, *options, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **popen,
    )


def output_of(code: str, *arguments, **options) -> str:
    """Run Python code that must end without an error; return its output."""
    done = run_script(code, *arguments, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def calculate_elsewhere(root, *, before=(), variables=None, **popen) -> None:
    """Calculate with a model of a root, in a new process that is started in a special way."""
    environ = {**os.environ, **(variables or {})}
    assert output_of(CALL, root, before=before, env=environ, **popen) == "(1, 3) True\n"
