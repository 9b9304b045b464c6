"""``rootstock verify [MODEL...]``."""

from __future__ import annotations

import datetime as dt
import socket
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from ..errors import BuildError, StartupError, WeightsError
from .options import (
    ClusterOption,
    DeviceOption,
    EnvironmentOption,
    JsonOption,
    RootOption,
    SetupOption,
    ThreadsOption,
    TracebackOption,
    complete_models,
    model_arguments,
)
from .output import CHECK_FAILED, reporting_errors, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..conformance.records import Verification
    from ..settings.root import Root

__all__ = ["verify_command"]


@dataclass(frozen=True)
class Verified:
    """Verifications of models.

    Attributes
    ----------
    passed : bool
        Whether all models passed all checks.
    verifications : tuple of Verification
        One for each model.
    """

    passed: bool
    verifications: tuple[Verification, ...]

    def renderable(self) -> RenderableType:
        """Return a table for each model."""
        from rich.console import Group

        tables = [
            table(
                f"{verification.model} on {verification.device} of {verification.host}",
                ("outcome", "check", "detail"),
                [
                    (c.outcome.upper() if c.failed else c.outcome, c.name, c.detail)
                    for c in verification.checks
                ],
                keep_first=True,
            )
            for verification in self.verifications
        ]
        unrecorded = any(not verification.recorded for verification in self.verifications)
        note = ["Not recorded: the environment file is not in a root."] if unrecorded else []
        return Group(*tables, *note)


def verify_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    models: Optional[list[str]] = typer.Argument(
        None,
        help="Model strings; by default all built environments.",
        autocompletion=complete_models,
    ),
    environment: Optional[Path] = EnvironmentOption,
    device: str = DeviceOption,
    threads: Optional[int] = ThreadsOption,
    setup: Optional[list[str]] = SetupOption,
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    traceback: bool = TracebackOption,
    as_json: bool = JsonOption,
) -> None:
    """Check models on this machine and device; record the outcome (exit code 9 if one fails)."""
    with reporting_errors(traceback=traceback):
        from ..conformance import verify
        from ..settings.root import find_root

        arguments = model_arguments(root, cluster, environment, device, threads, setup)
        # an environment file without a model: its default
        default = _built(find_root(root, cluster)) if environment is None else [""]
        names = models or default
        for name in names:  # a misspelt name ends the command before anything is started
            _check(name, arguments)
        verifications = tuple(
            verify(name, **arguments) if len(names) == 1 else _verify(name, arguments)
            for name in names
        )
        passed = all(verification.passed for verification in verifications)
        show(Verified(passed, verifications), as_json)
        if not passed:
            raise typer.Exit(CHECK_FAILED)


def _check(name: str, arguments: dict[str, Any]) -> None:
    """Raise for a model that does not exist or whose file has unknown settings."""
    from ..environments.environment_file import check_settings
    from ..runtime.arguments import make_spec

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unknown key is an error here
        spec = make_spec(name, check_weights=False, **arguments)
    check_settings(spec.environment.file, strict=True)


def _verify(name: str, arguments: dict[str, Any]) -> Verification:
    """Verify one of several models; one that does not start is a failed check."""
    from ..conformance import Check, Verification, verify

    try:
        return verify(name, **arguments)
    except (BuildError, StartupError, WeightsError) as error:
        check = Check("starts", "failed", str(error).partition("\n")[0])
        now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
        return Verification(
            name, "", arguments["device"], socket.gethostname(), now, checks=(check,)
        )


def _built(root: Root) -> list[str]:
    from ..environments.build import find_build
    from ..environments.discovery import available_environments

    return [
        entry.name
        for entry in available_environments(root)
        if entry.environment is not None and find_build(entry.environment) is not None
    ]
