"""Options that several commands share, declared once."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, Optional

import typer

from ..errors import ConfigurationError, RootstockError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "ClusterOption",
    "DeviceOption",
    "EnvironmentOption",
    "JsonOption",
    "RootOption",
    "SetupOption",
    "ThreadsOption",
    "TracebackOption",
    "complete_models",
    "complete_names",
    "model_arguments",
]

_MODEL = "Model"
RootOption = typer.Option(None, "--root", help="Root folder.", show_default=False)
ClusterOption = typer.Option(None, "--cluster", help="Name of a cluster.", show_default=False)
JsonOption = typer.Option(False, "--json", help="Print JSON.")
TracebackOption = typer.Option(False, "--traceback", help="Show the traceback of a model's error.")
DeviceOption = typer.Option(
    "auto", "--device", help="auto, cpu, cuda, cuda:1, ...", rich_help_panel=_MODEL
)
ThreadsOption = typer.Option(
    None, "--threads", help="CPU threads.", show_default=False, rich_help_panel=_MODEL
)
SetupOption = typer.Option(
    None,
    "--setup",
    metavar="KEY=VALUE",
    help="Argument of setup(); repeatable.",
    show_default=False,
    rich_help_panel=_MODEL,
)
EnvironmentOption = typer.Option(
    None,
    "--environment",
    help="Environment file to use; MODEL is then the argument of its setup().",
    show_default=False,
    rich_help_panel=_MODEL,
)


def model_arguments(
    root: Optional[Path],
    cluster: Optional[str],
    environment: Optional[Path],
    device: str,
    threads: Optional[int],
    setup: Optional[list[str]],
) -> dict[str, Any]:
    """Return the calculator's arguments for the group of model options."""
    return {
        "root": root,
        "cluster": cluster,
        "environment": environment,
        "device": device,
        "threads": threads,
        "setup_kwargs": setup_arguments(setup),
    }


#: As text these would be true for the model, whatever the user meant.
_PYTHON_SPELLINGS = {"True": "true", "False": "false", "None": "null"}


def setup_arguments(pairs: Optional[list[str]]) -> dict[str, Any]:
    """Convert ``key=value`` into arguments of ``setup()``; values are JSON, or else text.

    Raises
    ------
    ConfigurationError
        A pair does not have the form ``key=value``.
    """
    arguments = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            msg = f"--setup {pair!r} must be key=value, such as task_name=omat"
            raise ConfigurationError(msg)
        if value in _PYTHON_SPELLINGS:
            msg = (
                f"--setup {pair}: values are JSON, write {key}={_PYTHON_SPELLINGS[value]} (or "
                f"{key}='\"{value}\"' for the text)"
            )
            raise ConfigurationError(msg)
        try:
            arguments[key] = json.loads(value)
        except ValueError:
            arguments[key] = value
    return arguments


def complete_names(incomplete: str) -> list[str]:
    """Return names of environments that begin with `incomplete`; for the shell's completion."""
    return sorted(name for name in _offered() if name.startswith(incomplete))


def complete_models(incomplete: str) -> list[str]:
    """Return model strings that begin with `incomplete`; for the shell's completion."""
    from ..environments.model_strings import model_string

    strings = {model_string(name, model) for name, models in _offered().items() for model in models}
    return sorted(text for text in strings if text.startswith(incomplete))


def _offered() -> dict[str, list[str]]:
    from ..environments.discovery import available_environments
    from ..settings.root import find_root

    with contextlib.suppress(RootstockError):  # completion prints no errors
        return {
            entry.name: list(entry.file.models) if entry.file else []
            for entry in available_environments(find_root())
        }
    return {}
