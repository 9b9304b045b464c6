"""The model called directly in its environment: what a worker's results are compared with."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..environments.build import interpreter_for
from ..errors import ModelError, StartupError
from ..protocol.values import decode, encode, loads
from ..runtime.variables import pin_device, worker_variables
from ..support.processes import ChildProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..evaluation.evaluator import Outcome
    from ..protocol.data import Structure
    from ..runtime.spec import WorkerSpec

__all__ = ["DirectCall"]

_SCRIPT = Path(__file__).resolve().parent.parent / "worker" / "direct_call.py"


class DirectCall:
    """Evaluates structures in a plain process of the model's environment, without a worker.

    Parameters
    ----------
    spec : WorkerSpec
        The model; prepared.
    device : str
        The device that the worker used.
    """

    def __init__(self, spec: WorkerSpec, device: str) -> None:
        self._spec = spec
        self._device = device

    @property
    def provenance(self) -> dict[str, str]:
        """Model and build."""
        return {"model": self._spec.model, "build": self._spec.build or ""}

    def evaluate(
        self, structures: Iterable[Structure], properties: Iterable[str]
    ) -> Iterator[Outcome]:
        """Yield the results of each structure, or the error that it ended with.

        Raises
        ------
        StartupError
            The process failed as a whole.
        """
        spec = self._spec
        device, _ = pin_device(self._device)
        request = {
            "file": str(spec.environment.file.path),
            "argument": spec.argument,
            "device": device,
            "options": spec.setup_options,
            "threads": spec.threads,
            "properties": list(properties),
            "structures": [
                {
                    "arrays": dict(structure.fixed_inputs.arrays),
                    "info": decode(loads(structure.fixed_inputs.info, "info")),
                    "positions": structure.positions,
                    "cell": structure.cell,
                }
                for structure in structures
            ],
        }
        for answer in self._run(json.dumps(encode(request)).encode()):
            if "error" in answer:
                yield ModelError(answer["error"])
            else:
                yield answer["results"]

    def close(self) -> None:
        """Do nothing: the process ends with each call of :meth:`evaluate`."""

    def _run(self, request: bytes) -> list[dict[str, Any]]:
        spec = self._spec
        python = interpreter_for(spec.environment, spec.build or "")
        _, mask = pin_device(self._device)
        # A file for the answer and a drained pipe for stderr: output of the model stops nothing.
        with tempfile.TemporaryFile() as answer:
            with ChildProcess(
                [python, "-I", "-B", _SCRIPT, str(answer.fileno())],
                inherit=[answer.fileno()],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=worker_variables(spec, mask),
            ) as child:
                _, errors = child.popen.communicate(request)
            if child.popen.returncode:
                tail = errors[-500:].decode(errors="replace")
                msg = f"the direct call of model {spec.model!r} failed: {tail}"
                raise StartupError(msg)
            answer.seek(0)
            answers: list[dict[str, Any]] = decode(json.load(answer))
        return answers
