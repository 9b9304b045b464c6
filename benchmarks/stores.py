"""Stores: time and size of a structure, a restart, and memory over a long campaign."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rootstock import evaluate, prepare
from rootstock.evaluation.store import Store
from rootstock.evaluation.stored import StoreOptions
from rootstock.runtime.arguments import make_spec

from .arm import supercell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

    from .arms import Launcher

#: Structures of a campaign, and those of the shorter runs that are compared.
_CAMPAIGN, _COMPARED = 100_000, 5000
_ROUNDS, _NATOMS = 5, 32


def stores(launcher: Launcher) -> dict:
    """Measure the model that returns zeros with and without a store, one structure at a time.

    Every structure is different. The shorter runs take turns; the campaign follows: memory of this
    process over its structures, then a second run that finds all of them in the store.
    """
    spec = prepare(make_spec(**launcher.null_arguments()))
    with tempfile.TemporaryDirectory(prefix="rootstock-benchmark-") as folder:
        path = Path(folder) / "campaign.db"
        kinds = {"without": None, "store": False, "store and rows of an ASE database": True}
        milliseconds = {kind: [] for kind in kinds}
        size = {}
        for _ in range(_ROUNDS):
            for kind, rows in kinds.items():
                short = Path(folder) / "short.db"
                short.unlink(missing_ok=True)
                seconds = _run(spec, _COMPARED, None if rows is None else (short, rows))
                milliseconds[kind].append(1e3 * seconds / _COMPARED)
                if rows is not None:
                    size[kind] = short.stat().st_size / _COMPARED
        memory: list[tuple[int, float]] = []
        _run(spec, _CAMPAIGN, (path, False), memory)
        restart = _run(spec, _CAMPAIGN, (path, False))
        scan = _scan(path)
    return {
        "natoms": _NATOMS,
        "rounds": _ROUNDS,
        "compared": _COMPARED,
        "milliseconds": {kind: statistics.median(values) for kind, values in milliseconds.items()},
        "bytes": size,
        "campaign": _CAMPAIGN,
        "memory": memory,
        "restart_seconds": restart,
        "scan_seconds": scan,
    }


def _structures(count: int) -> Iterator[Atoms]:
    atoms = supercell("Cu", _NATOMS)
    for number in range(count):
        atoms.positions[0, 0] = 1e-6 * number
        yield atoms.copy()


def _run(spec, count, store=None, memory=None) -> float:
    """Evaluate structures; return the seconds, without the start of the worker."""
    options = None if store is None else StoreOptions(store[0], ase_rows=store[1])
    started = None
    stream = evaluate(_structures(count), spec, store=options, exact=True, progress=False)
    for number, evaluation in enumerate(stream):
        assert evaluation.ok
        started = started or time.perf_counter()
        if memory is not None and number + 1 in (count // 10, count // 2, count):
            memory.append((number + 1, _resident()))
    return time.perf_counter() - started


def _resident() -> float:
    """Return the resident memory of this process in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def _scan(path) -> float:
    """Look up all keys as a restart does; return the seconds."""
    with Store(path) as store:
        keys = [key for (key,) in store.database.execute("SELECT key FROM inputs")]
        started = time.perf_counter()
        for key in keys:
            assert store.find(key) is not None
        return time.perf_counter() - started
