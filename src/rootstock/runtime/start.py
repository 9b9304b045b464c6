"""Starting a worker from a prepared spec: first its process, then its model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ..environments.build import interpreter_for
from ..environments.environment_file import declared_packages
from ..environments.weights import expose_weights
from ..errors import ConfigurationError, ModelError, SetupError, StartupError
from ..protocol.data import WorkerReport
from .process import WorkerProcess
from .variables import pin_device, worker_variables

if TYPE_CHECKING:
    from ..protocol.server import Server
    from .spec import WorkerSpec

__all__ = ["load_model", "start_process"]

#: Advice in the error of a model whose weights were not fetched.
_FETCH = (
    ". If its weights could not be downloaded: run 'rootstock fetch {}' where there is a network"
)


def start_process(spec: WorkerSpec) -> WorkerProcess:
    """Start the interpreter of the spec's build.

    Raises
    ------
    ConfigurationError
        The spec is not prepared.
    StartupError
        The build is gone, or the process could not be started.
    """
    if spec.build is None:
        msg = f"the spec of model {spec.model!r} is not prepared: call rootstock.prepare(spec)"
        raise ConfigurationError(msg)
    python = interpreter_for(spec.environment, spec.build)
    root = spec.root
    if root is not None and root.is_read_only:
        root.create()
        expose_weights(root, spec.environment.name, spec.argument)
    return WorkerProcess(
        python,
        worker_variables(spec, pin_device(spec.device)[1]),
        Path("/") if root is None else root.working_directory,
        -1 if root is None else root.writable.umask,
    )


def load_model(spec: WorkerSpec, server: Server, deadline: Optional[float]) -> WorkerReport:
    """Have a worker run the environment file's ``setup()``.

    Raises
    ------
    SetupError
        ``setup()`` raised, or returned no calculator.
    CallTimeoutError, PeerClosedError, ProtocolError
        As :meth:`rootstock.protocol.server.Server.load`.
    """
    file = spec.environment.file
    device, mask = pin_device(spec.device)
    config = {
        "file": str(file.path),
        "digest": file.digest,
        "argument": spec.argument,
        "device": device,
        "options": spec.setup_options,
        "threads": spec.threads,
        "packages": declared_packages(file),
        "record_opened_in": _caches(spec) if spec.record_opened_files else [],
    }
    try:
        report: dict[str, Any] = server.load(config, deadline)
    except ModelError as error:
        if error.remote_type.endswith(".ChangedFileError"):
            msg = (
                f"{file.path} was edited since model {spec.model!r} was prepared. Make a new "
                "calculator to use it as it is now"
            )
            raise StartupError(msg) from error
        advice = "" if spec.offline or spec.root is None else _FETCH.format(spec.model)
        msg = (
            f"model {spec.model!r} could not be loaded: {error} (raised by setup() of "
            f"{file.path} in its environment){advice}"
        )
        raise SetupError(msg) from error.__cause__
    if mask is not None:
        report["device"] = spec.device
    report["implemented_properties"] = tuple(report["implemented_properties"])
    report["opened"] = tuple(report.get("opened", ()))
    return WorkerReport(**report)


def _caches(spec: WorkerSpec) -> list[str]:
    """Return the folders of the root in which libraries keep weights."""
    layers = () if spec.root is None else spec.root.layers
    return [str(folder) for layer in layers for folder in (layer.cache, layer.home)]
