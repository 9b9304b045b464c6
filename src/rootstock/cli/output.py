"""The edge: the one place that prints and decides exit codes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import warnings
from typing import TYPE_CHECKING, Any, Optional, Protocol

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape

from ..errors import (
    BuildError,
    CalculationError,
    ConfigurationError,
    EnvironmentFileError,
    RootError,
    RootstockError,
    StartupError,
    WeightsError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType
    from rich.table import Table

__all__ = [
    "UNWELL",
    "ClusterOption",
    "JsonOption",
    "Result",
    "RootOption",
    "complete_models",
    "complete_names",
    "edge",
    "show",
    "table",
]

#: First match wins; what is in none of these ends with 1.
_EXIT_CODES: list[tuple[type[RootstockError], int]] = [
    (ConfigurationError, 2),
    (EnvironmentFileError, 3),
    (BuildError, 4),
    (RootError, 5),
    (StartupError, 6),
    (CalculationError, 7),
    (WeightsError, 8),
]
#: Something was looked at and is not well: ``verify``, ``status --check``, ``doctor``.
CHECK_FAILED = 9

#: As a shell has it for SIGINT.
_INTERRUPTED = 130

RootOption = typer.Option(None, "--root", help="Root folder.", show_default=False)
ClusterOption = typer.Option(None, "--cluster", help="Name of a cluster.", show_default=False)
JsonOption = typer.Option(False, "--json", help="Print JSON.")


def complete_names(incomplete: str) -> list[str]:
    """Return names of environments that begin so; for the shell's completion."""
    return sorted(name for name in _offered() if name.startswith(incomplete))


def complete_models(incomplete: str) -> list[str]:
    """Return model strings that begin so; for the shell's completion."""
    strings = {
        f"{name}-{model}".removesuffix("-")
        for name, models in _offered().items()
        for model in models
    }
    return sorted(text for text in strings if text.startswith(incomplete))


def _offered() -> dict[str, list[str]]:
    from ..environments.discovery import available
    from ..settings.root import find_root

    with contextlib.suppress(RootstockError):  # a shell that completes says nothing
        return {
            entry.name: list(entry.file.models) if entry.file else []
            for entry in available(find_root())
        }
    return {}


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table for a terminal."""
    from rich.table import Table

    made = Table(title=title, title_justify="left")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*map(escape, row))
    return made


class Result(Protocol):
    """What a command returns: a frozen dataclass that can show itself."""

    def renderable(self) -> RenderableType:
        """Return what a person reads."""
        ...


def show(result: Result, as_json: bool) -> None:
    """Print a result, for a person or for a program."""
    if as_json:
        typer.echo(json.dumps(plain(result), indent=2))
        return
    shown = result.renderable()
    if isinstance(shown, str):
        typer.echo(shown)  # as it is: paths and commands are to be copied
    else:
        Console().print(shown)


def plain(value: Any) -> Any:
    """Return JSON data; a float that JSON lacks becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn our errors into a message and an exit code, and warnings into one line each."""
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
        except KeyboardInterrupt:
            console.print("interrupted", highlight=False)
            raise typer.Exit(_INTERRUPTED) from None
        except RootstockError as error:
            if error.__cause__ is not None and not isinstance(error, (BuildError, RootError)):
                remote = str(error.__cause__).strip()
                console.print(remote, style="dim", markup=False, highlight=False, soft_wrap=True)
            console.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            codes = (code for kind, code in _EXIT_CODES if isinstance(error, kind))
            raise typer.Exit(next(codes, 1)) from error
