"""``rootstock verify [MODEL...]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

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
        return Group(*tables)


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
        names = models or _built(find_root(root, cluster))
        verifications = tuple(verify(name, **arguments) for name in names)
        passed = all(verification.passed for verification in verifications)
        show(Verified(passed, verifications), as_json)
        if not passed:
            raise typer.Exit(CHECK_FAILED)


def _built(root: Root) -> list[str]:
    from ..environments.build import find_build
    from ..environments.discovery import available_environments

    return [
        entry.name
        for entry in available_environments(root)
        if entry.environment is not None and find_build(entry.environment) is not None
    ]
