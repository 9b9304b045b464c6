"""Direct calls of a model in its environment, for comparison with a worker's results."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..environments.build import interpreter_for
from ..errors import (
    ModelError,
    PropertyMissingError,
    RemoteTracebackError,
    RootstockError,
    StartupError,
    WorkerDiedError,
)
from ..properties import check_results, property_names, require_properties
from ..protocol.values import decode, encode, loads
from ..runtime.log import WorkerLog
from ..runtime.process import describe_exit
from ..runtime.variables import pin_device, worker_variables
from ..support.processes import ChildProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..evaluation.evaluator import Outcome
    from ..protocol.data import Results, Structure
    from ..runtime.spec import WorkerSpec

__all__ = ["DirectCall"]

_SCRIPT = Path(__file__).resolve().parent.parent / "worker" / "direct_call.py"


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
        """Evaluate all structures in one process, then yield their results or errors.

        If the process dies, the first structure without an answer gets a ``WorkerDiedError`` and
        another process evaluates those after it.

        Raises
        ------
        StartupError
            A process ended before it had loaded the model; shows the end of its stderr.
        """
        wanted = property_names(properties)
        remaining = list(structures)
        while remaining:
            answers, death = self._run(self._request(remaining, wanted))
            for structure, answer in zip(remaining, answers):
                yield _outcome(answer, len(structure.positions), wanted)
            if len(answers) < len(remaining):
                yield death
            remaining = remaining[len(answers) + 1 :]

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

    def _run(self, request: Any) -> tuple[list[dict[str, Any]], WorkerDiedError]:
        """Run a process; return its answers, and the error of a structure that has none."""
        spec = self._spec
        python = interpreter_for(spec.environment, spec.build or "")
        # Files, not pipes: output of the model blocks nothing, and helper processes that outlive
        # the model keep nothing open that is waited for.
        with tempfile.TemporaryFile() as file, contextlib.closing(WorkerLog()) as log:
            try:
                with ChildProcess(
                    [python, "-I", "-B", _SCRIPT, str(file.fileno())],
                    inherit=[file.fileno()],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=log.fileno(),
                    env=worker_variables(spec, self._mask),
                    cwd="/" if spec.root is None else spec.root.working_directory,
                    umask=-1 if spec.root is None else spec.root.writable.umask,
                ) as child:
                    child.popen.communicate(json.dumps(encode(request)).encode())
                file.seek(0)
                # a line that the process did not finish has no newline
                lines = [json.loads(line) for line in file if line.endswith(b"\n")]
            except (OSError, ValueError) as error:
                msg = f"the direct call of model {spec.model!r} failed: {error}"
                raise StartupError(msg) from error
            tail = log.tail()
        status = child.popen.returncode
        how = f"the direct call of model {spec.model!r} {describe_exit(status)}"
        if not lines:
            msg = f"{how} while it loaded the model: {tail}"
            raise StartupError(msg)
        msg = f"{how} while it calculated: {tail}"
        return decode(lines[1:]), WorkerDiedError(msg, status, tail)


def _outcome(answer: dict[str, Any], natoms: int, wanted: Iterable[str]) -> Outcome:
    """Return results, checked as those of a worker are, or the error."""
    if "error" in answer:
        return _error(answer["error"])
    results: Results = answer["results"]
    try:
        check_results(results, natoms)
        require_properties(results, wanted)
    except (ModelError, PropertyMissingError) as error:
        return error
    return results


def _error(described: dict[str, Any]) -> RootstockError:
    """Return the error that a worker's server would raise for an exception of the model."""
    kind, message = described["type"], described["message"]
    error: RootstockError
    if "PropertyNotImplementedError" in described["bases"]:
        error = PropertyMissingError(message)
    else:
        error = ModelError(f"{kind.removeprefix('builtins.')}: {message}", kind)
    error.__cause__ = RemoteTracebackError(described["traceback"])
    return error
