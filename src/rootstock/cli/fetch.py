"""``rootstock fetch MODEL...``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .options import (
    ClusterOption,
    EnvironmentOption,
    JsonOption,
    RootOption,
    SetupOption,
    ThreadsOption,
    TracebackOption,
    complete_models,
    model_arguments,
)
from .output import reporting_errors, show

if TYPE_CHECKING:
    from ..environments.weights import WeightsRecord

__all__ = ["fetch_command"]


@dataclass(frozen=True)
class Fetched:
    """Fetched models.

    Attributes
    ----------
    records : tuple of WeightsRecord
        One for each model.
    licences : dict of str to str
        Licences of the weights, by model.
    """

    records: tuple[WeightsRecord, ...]
    licences: dict[str, str]

    def renderable(self) -> str:
        """Return a line for each file, and the licence."""
        lines = []
        for record in self.records:
            files = (
                f"{len(record.files)} files" if record.files else "weights ship with the package"
            )
            licence = self.licences[record.model]
            lines.append(f"{record.model}: {files}{f'; licence: {licence}' if licence else ''}")
            lines += [f"  {f.path}  {f.size:,} bytes  {f.sha256[:12]}" for f in record.files]
        return "\n".join(lines)


def fetch_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    models: list[str] = typer.Argument(help="Model strings.", autocompletion=complete_models),
    environment: Optional[Path] = EnvironmentOption,
    device: str = typer.Option("cpu", "--device", help="Device to load the model on."),
    threads: Optional[int] = ThreadsOption,
    setup: Optional[list[str]] = SetupOption,
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    traceback: bool = TracebackOption,
    as_json: bool = JsonOption,
) -> None:
    """Download weights where there is a network; workers run offline afterwards. Needs no GPU."""
    with reporting_errors(traceback=traceback):
        from ..maintenance.fetch import fetch
        from ..runtime.arguments import make_spec

        arguments = model_arguments(root, cluster, environment, device, threads, setup)
        # all are resolved first: a misspelt name costs no download
        specs = [make_spec(model, check_weights=False, **arguments) for model in models]
        records = tuple(fetch(model, **arguments) for model in models)
        licences = {
            record.model: spec.environment.file.licence(spec.argument)
            for record, spec in zip(records, specs)
        }
        show(Fetched(records, licences), as_json)
