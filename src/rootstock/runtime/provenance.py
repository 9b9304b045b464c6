"""The identity of a model, and the provenance of its results."""

from __future__ import annotations

import hashlib
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from .._version import __version__
from ..environments.build import find_build, find_lock, installed_digest
from ..environments.builds import find_by_id
from ..environments.weights import weights_digests
from ..protocol.values import dumps, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..protocol.data import WorkerReport
    from .spec import WorkerSpec

__all__ = ["ModelIdentity", "Provenance", "describe", "identify"]


@dataclass(frozen=True)
class ModelIdentity:
    """Everything about a model that its results depend on: not device, threads, root or limits.

    Attributes
    ----------
    environment : str
        Name of the environment.
    source, lock : str
        SHA-256 of the environment file and of its lock; where uv keeps the environment in its own
        cache, of the names and versions of the installed packages.
    argument : str
        The argument ``model`` of ``setup()``; of a path only its last part.
    options : str
        Further arguments of ``setup()`` as canonical JSON.
    weights : tuple of (str, str) or None
        Path and SHA-256 of the weights, sorted: fetched files, files that loading the model opened
        in the root's caches, or a user's own file or folder by its name. Empty if they ship with
        the package, whose version is in the lock; None if they are not known yet, because the model
        was neither fetched nor loaded.
    """

    environment: str
    source: str
    lock: str
    argument: str
    options: str
    weights: Optional[tuple[tuple[str, str], ...]] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over all fields: equal digests mean the same model."""
        return hashlib.sha256(dumps(encode(asdict(self)))).hexdigest()


def identify(spec: WorkerSpec, report: Optional[WorkerReport] = None) -> ModelIdentity:
    """Return the identity of a model.

    Reads the build's record and the weights whose state changed since they were read last.

    Parameters
    ----------
    spec : WorkerSpec
        The model.
    report : WorkerReport, optional
        Of a worker that loaded the model: names the weights of a model that was not fetched.
    """
    environment = spec.environment
    weights = _weights(spec, report)
    own = [path for path in weights or () if Path(path).is_absolute()]
    return ModelIdentity(
        environment=environment.name,
        source=environment.file.digest,
        lock=_lock_digest(spec),
        argument=_by_name(spec.argument, own),
        options=_by_name(spec.options, own),
        weights=None
        if weights is None
        else tuple(sorted((_by_name(path, own), digest) for path, digest in weights.items())),
    )


def _weights(spec: WorkerSpec, report: Optional[WorkerReport]) -> Optional[dict[str, str]]:
    environment = spec.environment
    opened = None if report is None else report.opened
    return weights_digests(
        environment.root, environment.name, spec.argument, spec.setup_options, opened
    )


def _by_name(text: str, paths: list[str]) -> str:
    """Replace a user's own paths by their last part: a copy elsewhere is the same model."""
    for path in paths:
        text = text.replace(path, Path(path).name)
    return text


def _lock_digest(spec: WorkerSpec) -> str:
    """Return the SHA-256 of the lock that the build was made from, whatever the lock is now."""
    environment, pinned = spec.environment, spec.build
    if environment.root is None:
        return installed_digest(environment, pinned) if pinned is not None else ""
    build = find_build(environment) if pinned is None else find_by_id(environment, pinned)
    if build is not None and build.record.lock:
        return build.record.lock
    lock = find_lock(environment) if pinned is None else None
    return "" if lock is None else lock.digest


@dataclass(frozen=True)
class Provenance:
    """How results were computed.

    Attributes
    ----------
    rootstock : str
        Version of Rootstock.
    model : str
        The model as the user wrote it.
    identity : str
        :attr:`ModelIdentity.digest`.
    environment, build, lock : str
        Name of the environment, build id, SHA-256 of the lock.
    calculator : str
        Qualified class name of the model's calculator.
    device, gpu : str
        Device in use, and the GPU's name; empty without one.
    precision : mapping of str to str
        PyTorch's default dtype, matrix multiplication precision and TF32 switches.
    threads : int or None
        CPU threads as asked for.
    python : str
        Version of the worker's Python.
    packages : mapping of str to str
        Versions of the declared dependencies, NumPy and ASE.
    weights : mapping of str to str
        SHA-256 by path.
    settings : mapping
        Arguments that ``setup()`` ran with, its defaults included.
    evaluation : str
        ``"single"``: one by one, by the calculator; ``"batch"``: by ``evaluate_batch()``.
    atom_budget : int or None
        The budget of atoms for a batch.
    batch_deviation : mapping of str to float
        The largest deviations of ``evaluate_batch()`` from the calculator that were measured, by
        property: eV/atom for energies, ASE's unit for others.
    """

    rootstock: str
    model: str
    identity: str
    environment: str
    build: str
    lock: str
    calculator: str
    device: str
    gpu: str
    precision: Mapping[str, str] = field(hash=False)
    threads: Optional[int]
    python: str
    packages: Mapping[str, str] = field(hash=False)
    weights: Mapping[str, str] = field(hash=False)
    settings: Mapping[str, Any] = field(hash=False)
    evaluation: str = "single"
    atom_budget: Optional[int] = None
    batch_deviation: Mapping[str, float] = field(default_factory=dict, hash=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Provenance:
        """Return the provenance that :meth:`as_dict` made the document of.

        Entries of another version of Rootstock are left out; those that are missing are empty.
        """
        known = {f.name: document.get(f.name, "") for f in fields(cls) if f.default is MISSING}
        known |= {f.name: document[f.name] for f in fields(cls) if f.name in document}
        return cls(**known)


def describe(spec: WorkerSpec, report: WorkerReport) -> Provenance:
    """Return the provenance of results of a worker."""
    environment = spec.environment
    identity = identify(spec, report)
    return Provenance(
        rootstock=__version__,
        model=spec.model,
        identity=identity.digest,
        environment=environment.name,
        build=spec.build or "",
        lock=identity.lock,
        calculator=report.calculator,
        device=report.device,
        gpu=report.gpu,
        precision=dict(report.precision),
        threads=spec.threads,
        python=report.python,
        packages=dict(report.packages),
        weights=_weights(spec, report) or {},
        settings=dict(report.settings),
    )
