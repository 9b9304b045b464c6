"""``rootstock merge TARGET STORE...``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .options import JsonOption
from .output import reporting_errors, show
from .store_summary import store_text

if TYPE_CHECKING:
    from ..evaluation.merge import Merged

__all__ = ["merge_command"]


@dataclass(frozen=True)
class MergedStores:
    """The outcome of a merge.

    Attributes
    ----------
    merged : Merged
        Counts, and what the target holds.
    """

    merged: Merged

    def renderable(self) -> str:
        """Return a few lines."""
        merged = self.merged
        files = f"{merged.files} store" + "s" * (merged.files > 1)
        known = f", {merged.known:,} were there already" if merged.known else ""
        first = f"merged {files}: {merged.added:,} outcomes are new{known}"
        return f"{first}\n{store_text(merged.summary)}"


def merge_command(
    target: Path = typer.Argument(help="Store that receives the results; made if necessary."),
    stores: list[Path] = typer.Argument(help="Stores to read, such as results-*of16.db."),
    allow_other_models: bool = typer.Option(
        False, "--allow-other-models", help="Keep results of several models in one store."
    ),
    ase_rows: Optional[bool] = typer.Option(
        None,
        help="Also write rows for 'ase db'; by default for up to 100,000 results.",
        show_default=False,
    ),
    as_json: bool = JsonOption,
) -> None:
    """Merge stores of 'evaluate', such as those of shards; what is there already stays."""
    with reporting_errors():
        from ..evaluation.merge import merge

        merged = merge(target, stores, allow_other_models=allow_other_models, ase_rows=ase_rows)
        show(MergedStores(merged), as_json)
