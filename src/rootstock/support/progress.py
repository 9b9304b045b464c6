"""Progress of long tasks: live on a terminal, plain lines elsewhere, or none.

Apart from the command line this is the only module that writes to a terminal: a first use that
takes a minute without any output looks like a hang.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

__all__ = ["LineProgress", "LiveProgress", "Progress", "Task", "default_progress"]


class Task:
    """A running task.

    Attributes
    ----------
    summary : str
        Shown when the task succeeds; empty by default.
    """

    def __init__(self) -> None:
        self.summary = ""


class Progress:
    """Shows nothing; the base class of those that do."""

    @contextlib.contextmanager
    def task(self, title: str) -> Iterator[Task]:
        """Show a task while the block runs, then its summary.

        If the block raises, no summary is shown.
        """
        task = Task()
        self.begin(title)
        try:
            yield task
        except BaseException:
            self.end()
            raise
        self.end(task.summary)

    def begin(self, title: str) -> None:
        """Start a task; callers use :meth:`task`."""

    def line(self, text: str) -> None:
        """Show a line of the task's own output."""

    def end(self, summary: str = "") -> None:
        """End the task; callers use :meth:`task`."""


class LineProgress(Progress):
    """Plain lines, for logs and batch jobs."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self._stream = stream if stream is not None else sys.stderr

    def begin(self, title: str) -> None:
        """Write the title."""
        self.line(title)

    def line(self, text: str) -> None:
        """Write a line."""
        self._stream.write(f"rootstock: {text}\n")
        self._stream.flush()

    def end(self, summary: str = "") -> None:
        """Write the summary."""
        if summary:
            self.line(summary)


class LiveProgress(Progress):
    """A spinner with the elapsed time and the latest line, for terminals."""

    def __init__(self) -> None:
        self._live: Any = None
        self._task: Any = None

    def begin(self, title: str) -> None:
        """Show the spinner."""
        from rich.console import Console
        from rich.progress import Progress as Bars
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        self.end()
        self._live = Bars(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[latest]}", markup=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._live.start()
        self._task = self._live.add_task(title, total=None, latest="")

    def line(self, text: str) -> None:
        """Show `text` beside the spinner."""
        if self._live is not None:
            self._live.update(self._task, latest=text[:60].replace("[", r"\["))

    def end(self, summary: str = "") -> None:
        """Remove the spinner; leave the summary."""
        if self._live is not None:
            self._live.stop()
            if summary:
                self._live.console.print(summary, markup=False, highlight=False)
            self._live = None


def default_progress() -> Progress:
    """Return the one that suits stderr: live on a terminal, else lines, silent without stderr."""
    if sys.stderr is None:
        return Progress()
    return LiveProgress() if sys.stderr.isatty() else LineProgress()
