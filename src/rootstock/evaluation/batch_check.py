"""Whether ``evaluate_batch()`` returns what the calculator returns, and whether it is faster.

The check evaluates a few structures both ways. ``rootstock verify`` makes it, else the first
evaluation of many structures does, on structures of the user's own. Its outcome is recorded for
this model, build and kind of device, beside the budget that the batches ended with.
"""

from __future__ import annotations

import datetime as dt
import json
import socket
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import quote

import numpy as np

from ..errors import BatchError, CalculationError, RootError, RootstockError
from ..properties import PROPERTIES
from ..runtime.provenance import identify
from ..settings.root import writing
from ..support.files import write_atomically
from .budget import AtomBudget, Pace
from .chunk import Chunk, Evaluated, evaluate_chunk
from .comparison import compare_results, merge_largest

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocol.data import Results, WorkerReport
    from ..runtime.session import Session
    from ..settings.root import Layer

__all__ = ["BatchCheck", "check_batches", "device_label", "read_check", "write_check"]

#: Largest deviations of single precision with another order of summation: eV/atom; and eV/Å, eV/Å³,
#: relative to values above 1.
_LIMITS = {"energy": 5e-5, "free_energy": 5e-5, "forces": 1e-3, "stress": 1e-4}
#: Of other properties.
_RELATIVE_LIMIT = 1e-3
#: Structures of a check that is made on the user's own structures.
_STRUCTURES = 12
_LABELS = ("the calculator", "evaluate_batch()")


@dataclass(frozen=True)
class BatchCheck:
    """The outcome of a check.

    Attributes
    ----------
    passed : bool
        Whether all results agreed within single precision.
    problems : tuple of str
        What did not agree.
    deviations : dict of str to float
        The largest deviation of each property: eV/atom for energies, ASE's unit for others.
    properties : tuple of str
        The properties that were asked for.
    structures, natoms : int
        How many structures and atoms were compared.
    seconds_one_by_one, seconds_together : float
        Time for them, after each way had been used once.
    model, build, device, host, when : str
        Model string, build id, device (a GPU's name), machine and time (ISO 8601, UTC).
    atom_budget : int
        The budget that the last run ended with; 0 if there was none.
    """

    passed: bool
    problems: tuple[str, ...]
    deviations: dict[str, float] = field(hash=False)
    properties: tuple[str, ...]
    structures: int
    natoms: int
    seconds_one_by_one: float
    seconds_together: float
    model: str = ""
    build: str = ""
    device: str = ""
    host: str = ""
    when: str = ""
    atom_budget: int = 0

    @property
    def is_faster(self) -> bool:
        """Whether the batch took less time."""
        return self.seconds_together < self.seconds_one_by_one

    def with_budget(self, atoms: int) -> BatchCheck:
        """Return the check with another budget."""
        return replace(self, atom_budget=atoms)


def check_batches(
    session: Session, chunk: Chunk, most: int = _STRUCTURES
) -> tuple[Optional[BatchCheck], list[Evaluated]]:
    """Evaluate structures one by one and in a batch; compare results and time.

    Parameters
    ----------
    session : Session
        A worker whose environment file defines ``evaluate_batch()``.
    chunk : Chunk
        Structures; the comparison takes a spread sample of them.
    most : int
        Size of that sample.

    Returns
    -------
    BatchCheck or None
        None if fewer than two structures could be evaluated, or the batch did not fit.
    list of Evaluated
        The outcomes of all structures, evaluated one by one.

    Raises
    ------
    StartupError
        The worker died and could not be replaced.
    """
    outcomes = list(evaluate_chunk(session, chunk.alone(), AtomBudget(), Pace()))
    usable = [e for e in outcomes if not isinstance(e.outcome, RootstockError)]
    sample = usable[:: -(-len(usable) // most)] if usable else []
    if len(sample) < 2:  # noqa: PLR2004  one structure is no batch
        return None, outcomes
    part = replace(chunk, items=tuple(e.item for e in sample))
    deviations: dict[str, float] = {}
    try:
        batch = _evaluate(session, replace(part, together=True))
        problems = _compare(sample, batch, deviations)
        alone_seconds = _time(session, part.alone())
        batch_seconds = _time(session, replace(part, together=True))
    except CalculationError as error:
        if not isinstance(error, BatchError) or error.out_of_memory:
            return None, outcomes  # too large a sample, or a worker that died: nothing is known
        problems = [str(error).partition("\n")[0]]
        alone_seconds = batch_seconds = 0.0
    report = session.start()
    check = BatchCheck(
        passed=not problems,
        problems=tuple(problems),
        deviations=deviations,
        properties=chunk.wanted.properties,
        structures=len(sample),
        natoms=part.natoms,
        seconds_one_by_one=alone_seconds,
        seconds_together=batch_seconds,
        model=session.spec.model,
        build=session.spec.build or "",
        device=device_label(report),
        host=socket.gethostname(),
        when=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
    )
    return check, outcomes


def _evaluate(session: Session, part: Chunk) -> list[Any]:
    return list(
        session.evaluate_batch(
            [item.structure for item in part.items],
            part.wanted.properties,
            together=part.together,
            required=(),
        )
    )


def _time(session: Session, part: Chunk) -> float:
    started = time.perf_counter()
    _evaluate(session, part)
    return time.perf_counter() - started


def _compare(sample: list[Evaluated], batch: list[Any], deviations: dict[str, float]) -> list[str]:
    """Return problems; add deviations."""
    problems: list[str] = []
    for evaluated, results in zip(sample, batch):
        if isinstance(results, RootstockError):
            problems.append(str(results).partition("\n")[0])
            continue
        alone = _comparable(evaluated.outcome)
        new, texts = compare_results(
            alone, _comparable(results, alone), evaluated.item.natoms, _LABELS
        )
        merge_largest(deviations, new)
        problems += [text for text in texts if text not in problems]
        for name, deviation in new.items():
            limit = _limit(name, alone[name])
            if deviation > limit:
                problems.append(f"{name} deviates by {deviation:.1e}, more than {limit:.1e}")
    return problems


def _comparable(results: Any, like: Optional[Results] = None) -> dict[str, Any]:
    """Return ASE's properties in double precision; of `results`, those that `like` has."""
    return {
        name: np.asarray(value, float)
        for name, value in results.items()
        if name in PROPERTIES and (like is None or name in like)
    }


def _limit(name: str, value: np.ndarray) -> float:
    """Return the largest deviation of a property that is rounding; it grows with large values."""
    largest = float(np.abs(value).max(initial=0.0))
    if name in PROPERTIES and PROPERTIES[name].extensive:
        return _LIMITS[name]  # per atom
    return _LIMITS.get(name, _RELATIVE_LIMIT) * (1.0 + largest)


def device_label(report: WorkerReport) -> str:
    """Return the name of the GPU, or the device's type."""
    return report.gpu or report.device.partition(":")[0]


def _path(session: Session, layer: Layer) -> Path:
    spec = session.spec
    label = device_label(session.start())
    if label == "cpu":  # what is faster depends on the machine
        label = f"{socket.gethostname()}-{label}"
    folder = layer.records / "batches" / spec.environment.name
    folder = folder / (quote(spec.argument, safe="") or "default")
    return folder / f"{quote(label, safe='')}-{identify(spec).digest[:16]}.json"


def read_check(session: Session) -> Optional[BatchCheck]:
    """Return the recorded check of a session's model, build and device."""
    root = session.spec.root
    for layer in () if root is None else root.layers:
        try:
            data = json.loads(_path(session, layer).read_bytes())
            data |= {name: tuple(data[name]) for name in ("problems", "properties")}
            check = BatchCheck(**data)
        except (OSError, ValueError, TypeError, KeyError):
            continue  # none, of another version, or just being written
        if check.build == session.spec.build:
            return check
    return None


def write_check(session: Session, check: BatchCheck) -> None:
    """Record a check in the writable layer, where there is one."""
    root = session.spec.root
    if root is None:
        return
    layer = root.writable
    path = _path(session, layer)
    try:
        with writing(path), layer.writable_by_group():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(asdict(check), indent=2) + "\n")
    except RootError:
        return  # a full disk: the next run checks again
