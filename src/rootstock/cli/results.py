"""``rootstock results STORE``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .options import JsonOption
from .output import reporting_errors, show
from .store_summary import store_text

if TYPE_CHECKING:
    from ..evaluation.store_reader import StoreSummary

__all__ = ["results_command"]


@dataclass(frozen=True)
class StoredResults:
    """What a store holds.

    Attributes
    ----------
    store : StoreSummary
        Models, counts, what is missing.
    written : str or None
        The file that evaluations were written to.
    """

    store: StoreSummary
    written: Optional[str]

    def renderable(self) -> str:
        """Return a few lines."""
        return store_text(self.store) + (f"\nwritten to {self.written}" if self.written else "")


def results_command(
    store: Path = typer.Argument(help="Store that 'evaluate' or 'merge' wrote: NAME.db."),
    output: Optional[Path] = typer.Option(
        None,
        "-o",
        "--output",
        help="Write results in the order of the input: .extxyz, .traj, .csv or .json.",
        show_default=False,
    ),
    model: Optional[str] = typer.Option(
        None,
        help="Model string, or the beginning of an identity, if there are several models.",
        show_default=False,
    ),
    as_json: bool = JsonOption,
) -> None:
    """Summarise a store, and write its results to a file."""
    with reporting_errors():
        from ..evaluation.files import EvaluationFile
        from ..evaluation.store_reader import StoreReader

        with StoreReader(store) as reader:
            if output is not None:
                identity = reader.find_model(model)
                with EvaluationFile(output) as file:
                    for evaluation, frame in reader.evaluations(identity):
                        file.write(evaluation, frame)
            written = None if output is None else str(output)
            show(StoredResults(reader.summary(), written), as_json)
