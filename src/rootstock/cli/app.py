"""The program ``rootstock``."""

from __future__ import annotations

import typer

from .demo import demo
from .install import install
from .listing import listing
from .run import run
from .serve import serve

__all__ = ["app", "main"]

app = typer.Typer(
    name="rootstock",
    help="Machine-learned interatomic potentials as ASE calculators, each in its own environment.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(run)
app.command()(install)
app.command("list")(listing)
app.command()(serve)


def _version(value: bool) -> None:
    if value:
        from .. import __version__

        typer.echo(f"rootstock {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Take the options that belong to no command."""
    del version  # its callback has done it


def main() -> None:
    """Run the program."""
    app()
