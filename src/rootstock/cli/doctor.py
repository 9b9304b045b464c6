"""``rootstock doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from .options import ClusterOption, JsonOption, RootOption
from .output import CHECK_FAILED, reporting_errors, show, table

if TYPE_CHECKING:
    from rich.table import Table

    from ..maintenance.doctor import Finding

__all__ = ["doctor_command"]


@dataclass(frozen=True)
class Report:
    """The results of the checks.

    Attributes
    ----------
    findings : tuple of Finding
        One for each check.
    """

    findings: tuple[Finding, ...]

    def renderable(self) -> Table:
        """Return a table."""
        rows = ((f.topic, f.level, f.detail, f.fix) for f in self.findings)
        return table("", ("topic", "level", "detail", "fix"), rows, keep_first=True)


def doctor_command(
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Check uv, Pythons, disk, network, GPU and permissions (exit code 9 on problems)."""
    with reporting_errors():
        from ..maintenance.doctor import doctor
        from ..settings.root import find_root

        findings = tuple(doctor(find_root(root, cluster)))
        show(Report(findings), as_json)
        if any(finding.level == "problem" for finding in findings):
            raise typer.Exit(CHECK_FAILED)
