"""Direct calls of a model in its environment, for comparison with a worker's results."""

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
    from collections.abc import Iterable, Iterator, Sequence

    from ..evaluation.evaluator import Outcome
    from ..protocol.data import Structure
    from ..runtime.spec import WorkerSpec

__all__ = ["DirectCall"]

_SCRIPT = Path(__file__).resolve().parent.parent / "worker" / "direct_call.py"
#: Bytes of the process's stderr that an error shows.
_TAIL = 500


class DirectCall:
    """An evaluator that calls the model in a plain process of its environment, without a worker.

    Parameters
    ----------
    spec : WorkerSpec
        The model; prepared, see :func:`rootstock.prepare`.
    device : str
        The device that the worker used.
    """

    def __init__(self, spec: WorkerSpec, device: str) -> None:
        self._spec = spec
        self._device, self._mask = pin_device(device)

    @property
    def provenance(self) -> dict[str, str]:
        """Model, build and device."""
        spec = self._spec
        return {"model": spec.model, "build": spec.build or "", "device": self._device}

    def evaluate(
        self, structures: Iterable[Structure], properties: Iterable[str]
    ) -> Iterator[Outcome]:
        """Start the process; yield the results of each structure in ASE's units, or its error.

        Raises
        ------
        StartupError
            The process failed as a whole; shows the end of its stderr.
        """
        request = self._request(list(structures), list(properties))
        for answer in self._run(json.dumps(encode(request)).encode()):
            if "error" in answer:
                yield ModelError(answer["error"])
            else:
                yield answer["results"]

    def close(self) -> None:
        """Do nothing: the process ends with each call of :meth:`evaluate`."""

    def _request(self, structures: Sequence[Structure], properties: Sequence[str]) -> Any:
        spec = self._spec
        return {
            "file": str(spec.environment.file.path),
            "argument": spec.argument,
            "device": self._device,
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

    def _run(self, request: bytes) -> list[dict[str, Any]]:
        spec = self._spec
        python = interpreter_for(spec.environment, spec.build or "")
        # A file for the answer, and stderr is read all the time: the model's output blocks nothing.
        with tempfile.TemporaryFile() as answer:
            try:
                with ChildProcess(
                    [python, "-I", "-B", _SCRIPT, str(answer.fileno())],
                    inherit=[answer.fileno()],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=worker_variables(spec, self._mask),
                    cwd="/" if spec.root is None else spec.root.working_directory,
                    umask=-1 if spec.root is None else spec.root.writable.umask,
                ) as child:
                    _, errors = child.popen.communicate(request)
                status = child.popen.returncode
                answer.seek(0)
                answers: list[dict[str, Any]] = [] if status else decode(json.load(answer))
            except (OSError, ValueError) as error:
                msg = f"the direct call of model {spec.model!r} failed: {error}"
                raise StartupError(msg) from error
        if status:
            tail = errors[-_TAIL:].decode(errors="replace").strip()
            msg = f"the direct call of model {spec.model!r} ended with status {status}: {tail}"
            raise StartupError(msg)
        return answers
