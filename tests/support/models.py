"""A real model, through Rootstock and directly."""

from __future__ import annotations

import os
import pickle
import subprocess
from pathlib import Path

from rootstock import RootstockCalculator
from rootstock.environments.build import interpreter_for
from tests.support.paths import DIRECT


def python_of(calc: RootstockCalculator) -> Path:
    """Return the interpreter of a calculator whose worker was started."""
    return interpreter_for(calc.spec.environment, calc.spec.build)


class Model:
    """A model, through Rootstock and directly."""

    def __init__(self, text: str, root: Path, options: dict) -> None:
        self.calc = RootstockCalculator(
            text, root=root, device="cpu", threads=1, setup_kwargs=options
        )
        self.calc.report
        self._folder = root
        self._text = text
        self._options = options

    def direct(self, tmp_path: Path, **request):
        """Evaluate the same model in a process of its environment, without Rootstock."""
        self.calc.report
        spec = self.calc.spec
        request = {
            "file": str(spec.environment.file.path),
            "argument": spec.argument,
            "options": self._options,
            "threads": 1,
            **request,
        }
        request_file, answer_file = tmp_path / "request", tmp_path / "answer"
        request_file.write_bytes(pickle.dumps(request, protocol=4))
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        variables |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HOME": str(tmp_path)}
        command = [python_of(self.calc), "-I", DIRECT, request_file, answer_file]
        subprocess.run(command, check=True, env=variables, cwd=tmp_path, capture_output=True)
        return pickle.loads(answer_file.read_bytes())
