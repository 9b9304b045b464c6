"""``rootstock compare MODEL... --structures FILE...``."""

from __future__ import annotations

import contextlib
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from ..errors import ConfigurationError
from .options import (
    ClusterOption,
    DeviceOption,
    JsonOption,
    RootOption,
    ThreadsOption,
    complete_models,
    model_arguments,
    setup_arguments,
)
from .output import reporting_errors, show, stopping_at_sigterm, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from ..workflows.comparison import Comparison

__all__ = ["compare_command"]

#: No model evaluated any structure: the exit code of a failed calculation.
_ALL_FAILED = 7


def compare_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    models: list[str] = typer.Argument(
        help="Model strings, such as chgnet and sevennet-7net-0.", autocompletion=complete_models
    ),
    structures: list[Path] = typer.Option(
        ..., "--structures", help="Structure file that ASE reads; repeatable.", show_default=False
    ),
    output: Optional[list[Path]] = typer.Option(
        None,
        "-o",
        "--output",
        help="Write the report: .html, .json or .csv; repeatable. By default report.html.",
        show_default=False,
    ),
    tests: str = typer.Option("", help="What else to compute: eos.", show_default=False),
    reference: Optional[Path] = typer.Option(
        None,
        help="File with the same structures and reference energies or forces; by default those in "
        "the structure files, if they have some.",
        show_default=False,
    ),
    index: str = typer.Option(":", help="Frames of each file, in ASE's syntax."),
    resume: bool = typer.Option(
        False,
        "--resume",
        help="Keep outcomes in a folder beside the report, and go on with those that are there.",
    ),
    exact: bool = typer.Option(False, "--exact", help="Evaluate structures one by one."),
    device: str = DeviceOption,
    threads: Optional[int] = ThreadsOption,
    setup: Optional[list[str]] = typer.Option(
        None,
        "--setup",
        metavar="[N:]KEY=VALUE",
        help="Argument of setup(), of the N-th model alone with N; repeatable.",
        show_default=False,
        rich_help_panel="Model",
    ),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Compare models on the same structures, and write a report.

    Ends at SIGTERM with exit code 143; with --resume the same command then goes on.
    """
    with reporting_errors(), stopping_at_sigterm():
        from ..evaluation.frames import StructureFiles
        from ..reports import check_output, write
        from ..workflows.compare import check_tests, compare

        outputs = output or [Path("report.html")]
        for path in outputs:
            check_output(path)
        chosen = [name.strip() for name in tests.split(",") if name.strip()]
        check_tests(chosen)
        arguments = model_arguments(root, cluster, None, device, threads, None)
        del arguments["setup_kwargs"]
        asked = _with_settings(models, setup)
        store = outputs[0].with_name(f"{outputs[0].stem}-results") if resume else None
        frames, images = _read(StructureFiles(structures, index), "structure")
        known = None if reference is None else _read(StructureFiles([reference]), "reference")[1]
        with _saying_where(store):
            comparison = compare(
                images,
                asked,
                tests=chosen,
                reference=known,
                frames=frames,
                store=store,
                exact=exact,
                command=shlex.join(["rootstock", *sys.argv[1:]]),
                **arguments,
            )
        for path in outputs:
            write(comparison, path)
        show(_summary(comparison, outputs), as_json)
        if not any(model.evaluated for model in comparison.models):
            raise typer.Exit(_ALL_FAILED)


@contextlib.contextmanager
def _saying_where(store: Optional[Path]) -> Iterator[None]:
    """Say after an interruption where the outcomes are."""
    try:
        yield
    except KeyboardInterrupt:  # and SIGTERM
        kept = "with --resume the results would have been kept"
        if store is not None:
            kept = f"the results so far are in {store}; the same command goes on"
        typer.echo(kept, err=True)
        raise


def _read(files: Any, kind: str) -> tuple[list[Any], list[Any]]:
    """Return where the structures of files come from, and the structures."""
    pairs = list(files)
    if not pairs:
        msg = f"the {kind} files have no structures: check the files and --index"
        raise ConfigurationError(msg)
    return [frame for frame, _ in pairs], [atoms for _, atoms in pairs]


def _with_settings(models: list[str], setup: Optional[list[str]]) -> list[Any]:
    """Return each model string with its own arguments of ``setup()``."""
    general: list[str] = []
    own: dict[int, list[str]] = {}
    for pair in setup or []:
        match = re.fullmatch(r"(\d+):(.*)", pair, re.DOTALL)
        if match is None:
            general.append(pair)
        elif 1 <= int(match[1]) <= len(models):
            own.setdefault(int(match[1]), []).append(match[2])
        else:
            msg = f"--setup {pair!r} is for model {match[1]}, but there are {len(models)} models"
            raise ConfigurationError(msg)
    return [
        (model, {"setup_kwargs": setup_arguments([*general, *own.get(number, [])])})
        for number, model in enumerate(models, 1)
    ]


@dataclass(frozen=True)
class _ModelSummary:
    model: str
    evaluated: int
    failed: int
    reason: Optional[str]
    forces_mae_eV_per_A: float  # noqa: N815  the unit's symbol
    energy_mae_eV_per_atom: float  # noqa: N815
    atoms_per_second: Optional[float]


@dataclass(frozen=True)
class CompareSummary:
    """The outcome of a comparison in a few lines."""

    structures: int
    forces_target: str
    energy_scheme: str
    models: tuple[_ModelSummary, ...]
    notes: tuple[str, ...]
    written: tuple[str, ...]

    def renderable(self) -> tuple[RenderableType, ...]:
        """Return a table of the models, and what was written."""
        columns = ("model", "structures", "failed", "force MAE / eV/Å", "atoms/s")
        rows = [
            (
                m.model,
                str(m.evaluated),
                str(m.failed),
                _cell(m.forces_mae_eV_per_A),
                _cell(m.atoms_per_second),
            )
            for m in self.models
        ]
        title = f"{self.structures} structures; forces compared with the {self.forces_target}"
        text = "\n".join([*self.notes, f"written to {', '.join(self.written)}"])
        return table(title, columns, rows, keep_first=True), text


def _cell(value: Optional[float]) -> str:
    return "" if value is None or value != value else f"{value:.3g}"  # noqa: PLR0124  NaN


def _summary(comparison: Comparison, outputs: list[Path]) -> CompareSummary:
    return CompareSummary(
        structures=len(comparison.structures),
        forces_target=comparison.forces_target,
        energy_scheme=comparison.energies.scheme,
        models=tuple(
            _ModelSummary(
                model=model.label,
                evaluated=model.evaluated,
                failed=model.failed,
                reason=model.reason or None,
                forces_mae_eV_per_A=statistics.forces_mae_eV_per_A,
                energy_mae_eV_per_atom=statistics.energy_mae_eV_per_atom,
                atoms_per_second=model.atoms_per_second,
            )
            for model, statistics in zip(comparison.models, comparison.statistics)
        ),
        notes=comparison.notes,
        written=tuple(map(str, outputs)),
    )
