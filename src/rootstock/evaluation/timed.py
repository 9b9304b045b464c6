"""An engine that measures: the time of evaluations without that of the start, and memory."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from .engine import Completed

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from .engine import Engine, Entry

__all__ = ["TimedEngine"]

_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


class TimedEngine:
    """Starts the worker before the first structure that needs it, and measures from then on.

    Parameters
    ----------
    engine : Engine
        Evaluates; closed with this engine.

    Attributes
    ----------
    natoms : int
        Atoms of the structures that were evaluated, also of those that failed.
    seconds : float
        From the end of the start to the last outcome.
    peak_memory_MiB : float or None
        Largest resident memory of a worker's process; None if the system does not tell.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._started: Optional[float] = None
        self._sizes: dict[int, int] = {}
        self.natoms = 0
        self.seconds = 0.0
        self.peak_memory_MiB: Optional[float] = None

    @property
    def provenance(self) -> Any:
        """How results are computed; may start a worker."""
        return self._engine.provenance

    def close(self) -> None:
        """End the workers."""
        self._engine.close()

    def run(self, entries: Iterable[Entry], *, ordered: bool) -> Generator[Completed, None, None]:
        """Yield the outcomes of entries as they come; see :class:`Engine`."""
        stream = self._engine.run(self._entries(entries), ordered=ordered)
        try:
            for completed in stream:
                size = self._sizes.pop(completed.index, 0)
                if size and self._started is not None:
                    self.natoms += size
                    self.seconds = time.perf_counter() - self._started
                yield completed
            if self.natoms:  # else a worker started only to tell its identity
                self._note_memory()
        finally:
            stream.close()

    def _entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            if not isinstance(entry, Completed):
                self._sizes[entry.index] = entry.natoms
                if self._started is None:
                    self._engine.provenance  # noqa: B018  starts the worker
                    self._started = time.perf_counter()
            yield entry

    def _note_memory(self) -> None:
        for pid in getattr(self._engine, "pids", ()):
            try:
                status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
            except OSError:  # another system than Linux, or the worker has just ended
                continue
            if match := _PEAK.search(status):
                self.peak_memory_MiB = max(self.peak_memory_MiB or 0.0, int(match[1]) / 1024)
