"""Progress of an evaluation: a bar on a terminal, lines in a log, or the caller's function."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

__all__ = ["EvaluationProgress", "Reporter", "reporter"]

#: Seconds before a short evaluation shows anything, between two updates, and between two lines.
_DELAY, _UPDATE, _LINE = 1.0, 0.2, 30.0


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is.

    Attributes
    ----------
    done, errors, natoms : int
        Structures with an outcome, those of them with an error, and their atoms.
    stored : int
        Those that were in the store already; they do not count for the throughput.
    total : int or None
        Structures in all; None for an iterator of unknown length.
    seconds : float
        Since the start.
    steps : int
        Force calls of :func:`rootstock.map` so far; 0 where structures are only evaluated.
    """

    done: int = 0
    errors: int = 0
    natoms: int = 0
    stored: int = 0
    total: Optional[int] = None
    seconds: float = 0.0
    steps: int = 0

    @property
    def structures_per_second(self) -> float:
        """Mean throughput."""
        return (self.done - self.stored) / max(self.seconds, 1e-9)

    @property
    def atoms_per_second(self) -> float:
        """Mean throughput."""
        share = (self.done - self.stored) / max(self.done, 1)
        return self.natoms * share / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> Optional[float]:
        """Estimate at the mean throughput; None if it is not known."""
        if self.total is None or self.done == self.stored:
            return 0.0 if self.done and self.done == self.total else None
        return (self.total - self.done) / self.structures_per_second

    def __str__(self) -> str:
        """Return one line."""
        total = "" if self.total is None else f" of {self.total}"
        text = f"{self.done}{total} structures, {self.structures_per_second:.3g}/s, "
        if self.steps:
            text += f"{self.steps} force calls, {self.steps / max(self.seconds, 1e-9):.3g}/s"
        else:
            text += f"{self.atoms_per_second:.3g} atoms/s"
        if self.stored:
            text += f", {self.stored} from the store"
        if self.errors:
            text += f", {self.errors} error" + "s" * (self.errors > 1)
        left = self.seconds_left
        return text if left is None else f"{text}, {_clock(left)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Reporter:
    """Shows nothing; the base of those that do."""

    def update(self, progress: EvaluationProgress) -> None:
        """Show the progress; called for each structure."""

    def close(self) -> None:
        """Show the last update."""


class _Calls(Reporter):
    """Calls the user's function, at most five times a second and at the end."""

    def __init__(self, function: Callable[[EvaluationProgress], object]) -> None:
        self._function = function
        self._last = EvaluationProgress()
        self._shown: Optional[EvaluationProgress] = None

    def update(self, progress: EvaluationProgress) -> None:
        self._last = progress
        before = -_UPDATE if self._shown is None else self._shown.seconds
        if progress.seconds - before >= _UPDATE:
            self._show()

    def close(self) -> None:
        if self._shown is not self._last:
            self._show()

    def _show(self) -> None:
        self._shown = self._last
        self._function(self._last)


class _Lines(Reporter):
    """Writes a line every half minute, and one at the end of a long evaluation."""

    def __init__(self, stream: TextIO, label: str) -> None:
        self._stream = stream
        self._label = f"{label}: " if label else ""
        self._last = EvaluationProgress()
        self._due = _LINE

    def update(self, progress: EvaluationProgress) -> None:
        self._last = progress
        if progress.seconds >= self._due:
            self._due = progress.seconds + _LINE
            self._write(progress)

    def close(self) -> None:
        if self._due > _LINE:
            self._write(self._last)

    def _write(self, progress: EvaluationProgress) -> None:
        self._stream.write(f"rootstock: {self._label}{progress}\n")
        self._stream.flush()


class _Bar(Reporter):
    """A bar that appears after a second and goes at the end."""

    def __init__(self, label: str) -> None:
        self._label = f"{label}: " if label else ""
        self._bars: Any = None
        self._task: Any = None
        self._due = _DELAY

    def update(self, progress: EvaluationProgress) -> None:
        if progress.seconds < self._due:
            return
        self._due = progress.seconds + _UPDATE
        if self._bars is None:
            self._start()
        self._bars.update(
            self._task,
            completed=progress.done,
            total=progress.total,
            text=f"{self._label}{progress}",
        )

    def _start(self) -> None:
        from rich.console import Console  # noqa: PLC0415  loaded when a bar is shown
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415

        self._bars = Progress(
            BarColumn(20),
            TextColumn("{task.fields[text]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.start()
        self._task = self._bars.add_task("", total=None, text="")

    def close(self) -> None:
        if self._bars is not None:
            self._bars.stop()


def reporter(
    progress: Union[bool, Callable[[EvaluationProgress], object], None],  # noqa: FBT001
    label: str = "",
) -> Reporter:
    """Return what shows progress: None fits stderr, False shows nothing, a function is called.

    Lines and bars begin with the label.
    """
    if callable(progress):
        return _Calls(progress)
    if progress is False or sys.stderr is None:
        return Reporter()
    return _Bar(label) if sys.stderr.isatty() else _Lines(sys.stderr, label)
