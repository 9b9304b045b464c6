"""Evaluating the structures of files, as ``evaluate`` and ``run`` do, and its summary."""

from __future__ import annotations

import contextlib
import textwrap
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import typer

from ..errors import RemoteTracebackError
from .output import table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ase import Atoms
    from rich.console import RenderableType

    from ..evaluation.files import EvaluationFile
    from ..evaluation.frames import Frame, StructureFiles
    from ..evaluation.result import Evaluation
    from ..evaluation.stored import Shard, StoreOptions

__all__ = ["ALL_FAILED", "Summary", "evaluate_files", "evaluate_into_store"]

#: No structure could be evaluated: the exit code of a failed calculation.
ALL_FAILED = 7
#: Errors that are listed.
_LISTED = 10
#: Numbers in the table of frames.
_COLUMNS = ("energy_eV", "fmax_eV_per_A")


@dataclass(frozen=True)
class Summary:
    """The outcome of an evaluation.

    Attributes
    ----------
    model : str
        Model string.
    structures, failed, stored : int
        Structures, those of them with an error, and those that were in the store already.
    natoms : int
        Atoms of all structures.
    seconds : float
        Time, the start of the workers included.
    evaluations : dict of str to int
        How many structures were evaluated ``"single"`` and in a ``"batch"``.
    errors : tuple of str
        The first errors, with file and frame.
    written : str or None
        The file with the results.
    rows : tuple of tuple of str
        Frame, formula, energy and largest force of the first frames.
    """

    model: str
    structures: int
    failed: int
    natoms: int
    seconds: float
    evaluations: dict[str, int]
    errors: tuple[str, ...]
    written: Optional[str]
    rows: tuple[tuple[str, ...], ...] = ()
    stored: int = 0

    def renderable(self) -> tuple[RenderableType, ...]:
        """Return a few lines, below a table of frames if there is one."""
        if not self.rows:
            return (self._text(),)
        columns = ("frame", "formula", "energy / eV", "fmax / eV/Å")
        more = self.structures - len(self.rows)
        rest = f"... and {more} more frames\n" if more else ""
        return table("", columns, self.rows), rest + self._text()

    def _text(self) -> str:
        rate = (self.structures - self.stored) / max(self.seconds, 1e-9)
        lines = [f"{self.structures} structures ({self.natoms} atoms), {self.model}"]
        if self.stored:
            lines.append(f"{self.stored} of them were in the store already")
        lines.append(f"{self.seconds:.1f} s, {rate:.3g} structures/s")
        if self.evaluations.get("batch"):
            lines.append(f"{self.evaluations['batch']} of them in batches")
        if self.failed:
            lines.append(f"{self.failed} {'has' if self.failed == 1 else 'have'} an error:")
            lines += [f"  {text}" for text in self.errors]
            if self.failed > len(self.errors):
                lines.append(f"  ... and {self.failed - len(self.errors)} more")
        lines.append(f"written to {self.written}" if self.written else "not written: give -o FILE")
        return "\n".join(lines)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[EvaluationFile]:
    """Open the output; say where a part of it is if the command ends early."""
    from ..evaluation.files import EvaluationFile

    file = EvaluationFile(path)
    try:
        with file:
            yield file
    except BaseException:  # Ctrl-C too: what was computed must be found again
        if not file.is_empty:
            typer.echo(f"the results so far are in {file.partial}", err=True)
        raise


class _Named:
    """The structures of files; remembers where those that were read come from."""

    def __init__(self, files: StructureFiles, shard: Optional[Shard] = None) -> None:
        self._files, self._shard = files, shard
        self._frames: dict[int, Frame] = {}

    def __length_hint__(self) -> int:
        return self._files.__length_hint__()

    def __iter__(self) -> Iterator[Atoms]:
        for number, (frame, atoms) in enumerate(self._files):
            if self._shard is None or number in self._shard:
                self._frames[number] = frame
            yield atoms

    def frame(self, number: int) -> Frame:
        """Return where a structure comes from."""
        return self._frames[number]

    def forget(self, number: int) -> None:
        """Free the memory of a structure that is done."""
        del self._frames[number]


class _Counts:
    """Counts the outcomes for a summary."""

    def __init__(self, *, listed: int, traceback: bool) -> None:
        self.structures = self.failed = self.natoms = self.stored = 0
        self.ways: Counter[str] = Counter()
        self.errors: list[str] = []
        self.rows: list[tuple[str, ...]] = []
        self._listed, self._traceback = listed, traceback

    def add(self, evaluation: Evaluation, frame: Frame) -> None:
        from ..evaluation.files import describe, numbers

        self.structures += 1
        self.stored += evaluation.stored
        self.natoms += len(evaluation.source)
        if evaluation.provenance is not None and not evaluation.stored:
            self.ways[evaluation.provenance.evaluation] += 1
        if not evaluation.ok:
            self.failed += 1
            if len(self.errors) < _LISTED:
                text = f"frame {frame.number} of {frame.file}: {describe(evaluation)}"
                self.errors.append(text + self._remote_traceback(evaluation))
        if len(self.rows) < self._listed:
            values = numbers(evaluation) if evaluation.ok else {}
            self.rows.append(
                (
                    str(frame.number),
                    evaluation.source.get_chemical_formula(),
                    *(f"{values[name]:.6f}" if name in values else "" for name in _COLUMNS),
                )
            )

    def summary(self, model: str, seconds: float, written: Optional[str]) -> Summary:
        """Return the summary."""
        return Summary(
            model=model,
            structures=self.structures,
            failed=self.failed,
            natoms=self.natoms,
            seconds=seconds,
            evaluations=dict(self.ways),
            errors=tuple(self.errors),
            written=written,
            rows=tuple(self.rows),
            stored=self.stored,
        )

    def _remote_traceback(self, evaluation: Evaluation) -> str:
        cause = None if evaluation.error is None else evaluation.error.__cause__
        if not self._traceback or not isinstance(cause, RemoteTracebackError):
            return ""
        return "\n" + textwrap.indent(str(cause).strip(), "    ")


def evaluate_files(
    evaluate: Callable[[Iterable[Atoms]], Iterable[Evaluation]],
    files: StructureFiles,
    model: str,
    output: Optional[Path] = None,
    *,
    rows: int = 0,
    traceback: bool = False,
) -> Summary:
    """Evaluate the structures of files, and write the outcomes as they come.

    Parameters
    ----------
    evaluate : callable
        Takes the structures, and returns their evaluations.
    files : StructureFiles
        The structures.
    model : str
        Model string, for the summary.
    output : Path, optional
        Its suffix decides the format.
    rows : int
        Frames whose numbers the summary lists.
    traceback : bool
        Whether the summary shows tracebacks of the model's errors.
    """
    from ..evaluation.files import check_output

    named = _Named(files)
    counts = _Counts(listed=rows, traceback=traceback)
    if output is not None:
        check_output(output)
    started = time.perf_counter()
    evaluations = evaluate(named)  # checks the model, before the output replaces an earlier one
    with contextlib.ExitStack() as stack:
        file = None if output is None else stack.enter_context(_open(output))
        _consume(evaluations, named, counts, file)
    written = None if output is None else str(output)
    return counts.summary(model, time.perf_counter() - started, written)


def evaluate_into_store(
    evaluate: Callable[..., Iterable[Evaluation]],
    files: StructureFiles,
    model: str,
    store: StoreOptions,
    shard: Optional[Shard] = None,
    *,
    traceback: bool = False,
) -> Summary:
    """Evaluate what a store lacks of the structures of files.

    Parameters
    ----------
    evaluate, files, model, traceback
        As for :func:`evaluate_files`; `evaluate` takes `store` and `shard`.
    store : StoreOptions
        The store.
    shard : Shard, optional
        The share of the structures to evaluate.
    """
    path = Path(store.path)
    path = path if shard is None else shard.path(path)
    named = _Named(files, shard)
    counts = _Counts(listed=0, traceback=traceback)
    share = None if shard is None else (shard.number, shard.count)
    run = partial(evaluate, store=replace(store, origin=named.frame), shard=share)
    started = time.perf_counter()
    try:
        _consume(run(named), named, counts)
    except KeyboardInterrupt:  # and SIGTERM
        if path.exists():
            typer.echo(f"the results so far are in {path}; the same command goes on", err=True)
        raise
    return counts.summary(model, time.perf_counter() - started, str(path))


def _consume(
    evaluations: Iterable[Evaluation],
    named: _Named,
    counts: _Counts,
    file: Optional[EvaluationFile] = None,
) -> None:
    for evaluation in evaluations:
        frame = named.frame(evaluation.index)
        counts.add(evaluation, frame)
        if file is not None:
            file.write(evaluation, frame)
        named.forget(evaluation.index)
