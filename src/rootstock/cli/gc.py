"""``rootstock gc``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

import typer

from .output import ClusterOption, JsonOption, RootOption, reporting_errors, show, table

if TYPE_CHECKING:
    from rich.table import Table

    from ..maintenance.gc import Leftover

__all__ = ["gc"]


@dataclass(frozen=True)
class Collection:
    """What can be removed, or was.

    Attributes
    ----------
    removed : bool
        Whether it was.
    items : tuple of Leftover
        What.
    failed : tuple of Leftover
        What could not be removed, and why.
    """

    removed: bool
    items: tuple[Leftover, ...]
    failed: tuple[Leftover, ...]

    def renderable(self) -> Union[Table, str]:
        """Return a table."""
        if not self.items and not self.failed:
            return "nothing to remove"
        title = "removed" if self.removed else "can be removed"
        rows = [(str(one.path), one.why) for one in self.items]
        rows += [(str(one.path), f"NOT removed: {one.why}") for one in self.failed]
        return table(title, ("path", "why"), rows)


def gc(  # noqa: PLR0913, PLR0917  options, which nobody passes by place
    yes: bool = typer.Option(False, "--yes", "-y", help="Don't ask."),
    dry_run: bool = typer.Option(False, help="Only show the plan."),
    days: float = typer.Option(30.0, help="Keep environments that were replaced this long."),
    caches: bool = typer.Option(False, help="Also caches that no record names."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Remove old environments and leftovers of killed builds; shows the plan first."""
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
        progress.begin("cleaning up")
        try:
            failed = tuple(collect(plan, progress))
        finally:
            progress.end("")
        names = {one.path for one in failed}
        gone = tuple(one for one in plan if one.path not in names)
        show(Collection(removed=True, items=gone, failed=failed), as_json)
