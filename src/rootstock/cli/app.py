"""The program ``rootstock``."""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import TYPE_CHECKING

import typer

from ..support.files import explain
from .compare import compare_command
from .demo import demo_command
from .doctor import doctor_command
from .evaluate import evaluate_command
from .fetch import fetch_command
from .gc import gc_command
from .history import history_command
from .init import init_command
from .install import install_command
from .list import list_command
from .lock import lock_command
from .merge import merge_command
from .new import new_command
from .pack import pack_command
from .results import results_command
from .rollback import rollback_command
from .run import run_command
from .serve import serve_command
from .show import show_command
from .status import status_command
from .uninstall import uninstall_command
from .unpack import unpack_command
from .verify import verify_command

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["app", "main"]

app = typer.Typer(
    name="rootstock",
    help="Machine-learned interatomic potentials as ASE calculators, each in its own environment.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_PANELS: dict[str, list[tuple[str, Callable[..., None]]]] = {
    "Use models": [
        ("demo", demo_command),
        ("run", run_command),
        ("evaluate", evaluate_command),
        ("compare", compare_command),
        ("results", results_command),
        ("merge", merge_command),
        ("serve", serve_command),
        ("list", list_command),
    ],
    "Manage environments and weights": [
        ("init", init_command),
        ("install", install_command),
        ("uninstall", uninstall_command),
        ("status", status_command),
        ("fetch", fetch_command),
        ("verify", verify_command),
        ("history", history_command),
        ("rollback", rollback_command),
        ("show", show_command),
        ("lock", lock_command),
        ("new", new_command),
        ("pack", pack_command),
        ("unpack", unpack_command),
        ("gc", gc_command),
        ("doctor", doctor_command),
    ],
}
for panel, commands in _PANELS.items():
    for name, command in commands:
        app.command(name, rich_help_panel=panel)(command)


def _version(value: bool) -> None:
    if value:
        from .._version import __version__

        typer.echo(f"rootstock {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Handle the options of the program itself."""
    del version  # its callback has done it


#: The exit code of an output that can't be written.
_OUTPUT_FAILED = 5


def main() -> None:
    """Run the program."""
    # A caller that ignores SIGCHLD passes that on, and uv's exit status would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Å
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # else Python finds a full disk after the last handler
    except OSError as error:
        sys.stderr.write(f"error: the output can't be written: {explain(error)}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left to write is lost
        raise SystemExit(_OUTPUT_FAILED) from error
