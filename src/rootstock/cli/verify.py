"""``rootstock verify [MODEL...]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .fetch import options_of
from .output import (
    CHECK_FAILED,
    ClusterOption,
    JsonOption,
    RootOption,
    complete_models,
    reporting_errors,
    show,
    table,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ..conformance import Verification
    from ..settings.root import Root

__all__ = ["verify"]


@dataclass(frozen=True)
class Verified:
    """What was found.

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
                f"{one.model} on {one.device} of {one.host}",
                ("", "", ""),
                [(c.name, "passed" if c.passed else "FAILED", c.detail) for c in one.checks],
            )
            for one in self.verifications
        ]
        return Group(*tables)


def verify(  # noqa: PLR0913, PLR0917  options, which nobody passes by place
    models: Optional[list[str]] = typer.Argument(
        None, help="Model strings; all that is built by default.", autocompletion=complete_models
    ),
    device: str = typer.Option("auto", help="auto, cpu, cuda, cuda:1, ..."),
    threads: Optional[int] = typer.Option(None, help="CPU threads."),
    setup: Optional[list[str]] = typer.Option(None, help="Argument of setup(): key=value."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Check models on this machine and device, and record it; end with 9 if one fails."""
    with reporting_errors():
        from ..calculator import RootstockCalculator
        from ..conformance import verify as check
        from ..settings.root import find_root

        place = find_root(root, cluster)
        found = []
        for text in models or _built(place):
            with RootstockCalculator(
                text,
                root=place.path,
                device=device,
                threads=threads,
                setup_kwargs=options_of(setup),
            ) as calc:
                found.append(check(calc))
        passed = all(one.passed for one in found)
        show(Verified(passed, tuple(found)), as_json)
        if not passed:
            raise typer.Exit(CHECK_FAILED)


def _built(place: Root) -> list[str]:
    from ..environments.build import is_ready
    from ..environments.discovery import available

    return [
        entry.name
        for entry in available(place)
        if entry.file is not None and is_ready(entry.file, place)
    ]
