"""The program ``rootstock``."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import typer

from .demo import demo
from .doctor import doctor
from .fetch import fetch
from .gc import gc
from .history import history
from .init import init
from .install import install
from .list import list_environments
from .lock import lock
from .new import new
from .pack import pack
from .rollback import rollback
from .run import run
from .serve import serve
from .show import show_environment
from .status import status
from .uninstall import uninstall
from .unpack import unpack
from .verify import verify

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
    "Use models": [("demo", demo), ("run", run), ("serve", serve), ("list", list_environments)],
    "Manage environments and weights": [
        ("init", init),
        ("install", install),
        ("uninstall", uninstall),
        ("status", status),
        ("fetch", fetch),
        ("verify", verify),
        ("history", history),
        ("rollback", rollback),
        ("show", show_environment),
        ("lock", lock),
        ("new", new),
        ("pack", pack),
        ("unpack", unpack),
        ("gc", gc),
        ("doctor", doctor),
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


def main() -> None:
    """Run the program."""
    # A caller that ignores SIGCHLD passes that on, and uv's exit status would be lost.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    app()
