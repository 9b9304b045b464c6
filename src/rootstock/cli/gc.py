"""``rootstock gc``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

import typer

from .options import ClusterOption, JsonOption, RootOption
from .output import reporting_errors, show, table

if TYPE_CHECKING:
    from rich.table import Table

    from ..maintenance.gc import Leftover

__all__ = ["gc_command"]


@dataclass(frozen=True)
class Collection:
    """Entries that can be removed, or were.

    Attributes
    ----------
    removed : bool
        Whether they were removed.
    items : tuple of Leftover
        Files and folders, with the reason.
    failed : tuple of Leftover
        Entries that could not be removed, with the reason.
    """

    removed: bool
    items: tuple[Leftover, ...]
    failed: tuple[Leftover, ...]

    def renderable(self) -> Union[Table, str]:
        """Return a table."""
        if not self.items and not self.failed:
            return "nothing to remove"
        title = "removed" if self.removed else "can be removed"
        rows = [(str(item.path), item.reason) for item in self.items]
        rows += [(str(item.path), f"NOT removed: {item.reason}") for item in self.failed]
        return table(title, ("path", "reason"), rows)


def gc_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    yes: bool = typer.Option(False, "--yes", "-y", help="Remove without asking."),
    dry_run: bool = typer.Option(False, help="Only show what would be removed."),
    days: float = typer.Option(30.0, help="Days for which replaced builds are kept."),
    caches: bool = typer.Option(False, help="Also remove caches that no record names."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Remove old builds and leftovers of killed builds; shows them first."""
    with reporting_errors():
        from ..maintenance.gc import collect, plan_collection
        from ..settings.root import find_root
        from ..support.progress import default_progress

        plan = tuple(plan_collection(find_root(root, cluster), days, caches=caches))
        ask = not (yes or dry_run or as_json) and sys.stdin.isatty()
        if ask and plan:
            show(Collection(removed=False, items=plan, failed=()), as_json)
        if dry_run or not (yes or (ask and plan and typer.confirm("Remove them?"))):
            if not (ask and plan):
                show(Collection(removed=False, items=plan, failed=()), as_json)
            return
        progress = default_progress()
        with progress.task("cleaning up"):
            failed = tuple(collect(plan, progress))
        names = {item.path for item in failed}
        gone = tuple(item for item in plan if item.path not in names)
        show(Collection(removed=True, items=gone, failed=failed), as_json)
