"""Printing of results and errors, and exit codes."""

from __future__ import annotations

import contextlib
import json
import signal
import warnings
from typing import TYPE_CHECKING, Any, Optional, Protocol

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import (
    BuildError,
    CalculationError,
    ConfigurationError,
    EnvironmentFileError,
    OutputError,
    RemoteTracebackError,
    RootError,
    RootstockError,
    StartupError,
    WeightsError,
)
from ..support.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table

__all__ = [
    "CHECK_FAILED",
    "Result",
    "reporting_errors",
    "show",
    "stopping_at_sigterm",
    "table",
]

#: First match wins; other errors end with 1.
_EXIT_CODES: list[tuple[type[RootstockError], int]] = [
    (ConfigurationError, 2),
    (EnvironmentFileError, 3),
    (BuildError, 4),
    (RootError, 5),
    (OutputError, 5),
    (StartupError, 6),
    (CalculationError, 7),
    (WeightsError, 8),
]
#: A check failed: ``verify``, ``status --check``, ``doctor``.
CHECK_FAILED = 9

#: The shells' exit codes for SIGINT and SIGTERM.
_INTERRUPTED, _TERMINATED = 130, 143


class _Terminated(KeyboardInterrupt):
    """SIGTERM arrived: everything ends as at Ctrl-C."""


@contextlib.contextmanager
def stopping_at_sigterm() -> Iterator[None]:
    """End the block at SIGTERM as at Ctrl-C, and the command with exit code 143.

    Batch systems send SIGTERM before they kill. Another one does not disturb the clean-up.
    """

    def stop(number: int, frame: Any) -> None:
        del frame
        signal.signal(number, signal.SIG_IGN)
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    keep_first: bool = False,
) -> Table:
    """Return a table for a terminal; with `keep_first` its first column never wraps."""
    from rich.table import Table

    shown = Table(title=title or None, title_justify="left")
    for number, column in enumerate(columns):
        # the first column holds names and paths to copy: it is never cut into pieces
        shown.add_column(column, overflow="fold", no_wrap=number == 0 and keep_first)
    for row in rows:
        shown.add_row(*map(escape, row))
    return shown


class Result(Protocol):
    """The result of a command: a frozen dataclass with an output for terminals."""

    def renderable(self) -> RenderableType | tuple[RenderableType, ...]:
        """Return the output for a terminal, in one part or several."""
        ...


def show(result: Result, as_json: bool) -> None:
    """Print a result, for a person or for a program."""
    if as_json:
        typer.echo(json.dumps(plain(result), indent=2))
        return
    shown = result.renderable()
    for part in shown if isinstance(shown, tuple) else (shown,):
        if isinstance(part, str):
            typer.echo(part)  # verbatim: paths and commands are copied from it
        else:
            Console().print(part)


@contextlib.contextmanager
def reporting_errors(*, traceback: bool = False) -> Iterator[None]:
    """Turn errors into a message and an exit code, and warnings into one line each.

    Parameters
    ----------
    traceback : bool
        Also show the traceback of the model's own error.
    """
    console = Console(stderr=True)

    def show_warning(
        message: Any,
        category: Any,
        filename: Any,
        lineno: Any,
        file: Optional[Any] = None,
        line: Optional[Any] = None,
    ) -> None:
        del category, filename, lineno, file, line
        console.print(
            f"[yellow]warning:[/] {escape(str(message))}", highlight=False, soft_wrap=True
        )

    with warnings.catch_warnings():
        warnings.showwarning = show_warning
        try:
            yield
        except _Terminated:
            console.print("terminated", highlight=False)
            raise typer.Exit(_TERMINATED) from None
        except KeyboardInterrupt:
            console.print("interrupted", highlight=False)
            raise typer.Exit(_INTERRUPTED) from None
        except RootstockError as error:
            if traceback and isinstance(error.__cause__, RemoteTracebackError):
                remote = str(error.__cause__).strip()
                console.print(remote, style="dim", markup=False, highlight=False, soft_wrap=True)
            console.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            codes = (code for kind, code in _EXIT_CODES if isinstance(error, kind))
            raise typer.Exit(next(codes, 1)) from error
