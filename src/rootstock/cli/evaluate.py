"""``rootstock evaluate MODEL FILE...``."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from ..errors import ConfigurationError
from .options import (
    ClusterOption,
    DeviceOption,
    EnvironmentOption,
    JsonOption,
    RootOption,
    SetupOption,
    ThreadsOption,
    complete_models,
    model_arguments,
)
from .output import reporting_errors, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms

    from ..evaluation.files import EvaluationFile, Frame
    from ..evaluation.result import Evaluation

__all__ = ["evaluate_command"]

#: No structure could be evaluated: the exit code of a failed calculation.
_ALL_FAILED = 7
#: Errors that are listed in full.
_LISTED = 10


@dataclass(frozen=True)
class Summary:
    """What became of the structures.

    Attributes
    ----------
    model : str
        Model string.
    structures, failed : int
        Structures, and those of them with an error.
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
    """

    model: str
    structures: int
    failed: int
    natoms: int
    seconds: float
    evaluations: dict[str, int]
    errors: tuple[str, ...]
    written: Optional[str]

    def renderable(self) -> str:
        """Return a few lines."""
        rate = self.structures / max(self.seconds, 1e-9)
        lines = [
            f"{self.structures} structures ({self.natoms} atoms), {self.model}",
            f"{self.seconds:.1f} s, {rate:.3g} structures/s",
        ]
        if self.evaluations.get("batch"):
            lines.append(f"{self.evaluations['batch']} of them in batches")
        if self.failed:
            lines.append(f"{self.failed} have an error:")
            lines += [f"  {text}" for text in self.errors]
            if self.failed > len(self.errors):
                lines.append(f"  ... and {self.failed - len(self.errors)} more")
        lines.append(f"written to {self.written}" if self.written else "not written: give -o FILE")
        return "\n".join(lines)


def evaluate_command(  # noqa: PLR0913, PLR0917  options, which are never passed by position
    model: str = typer.Argument(
        help="Model string, such as chgnet or mace-medium.", autocompletion=complete_models
    ),
    files: list[Path] = typer.Argument(help="Structure files that ASE reads."),
    output: Optional[Path] = typer.Option(
        None,
        "-o",
        "--output",
        help="Write results: .extxyz, .traj, .csv or .json.",
        show_default=False,
    ),
    index: str = typer.Option(":", help="Frames of each file, in ASE's syntax."),
    properties: Optional[str] = typer.Option(
        None,
        help="Properties to ask for, such as energy,forces; each is then required.",
        show_default=False,
    ),
    exact: bool = typer.Option(False, "--exact", help="Evaluate structures one by one."),
    batch_atoms: Optional[int] = typer.Option(
        None, help="Atoms in a batch; found by itself by default.", show_default=False
    ),
    devices: Optional[str] = typer.Option(
        None, help="Devices that share the work: cuda:0,cuda:1.", show_default=False
    ),
    workers: int = typer.Option(1, help="Workers on each device."),
    environment: Optional[Path] = EnvironmentOption,
    device: str = DeviceOption,
    threads: Optional[int] = ThreadsOption,
    setup: Optional[list[str]] = SetupOption,
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Evaluate many structures; a structure with an error does not stop the others."""
    with reporting_errors():
        from ..evaluation.evaluate import evaluate

        if workers < 1:
            msg = f"--workers {workers} must be a positive integer"
            raise ConfigurationError(msg)
        named = _Named(files, index)
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(_open(output)) if output is not None else None
            stream = evaluate(
                named,
                model,
                properties=_names(properties),
                devices=_names(devices),
                workers_per_device=workers,
                batch_atoms=batch_atoms,
                exact=exact,
                **model_arguments(root, cluster, environment, device, threads, setup),
            )
            summary = _consume(model, stream, named, file)
        show(summary, as_json)
        if summary.structures and summary.failed == summary.structures:
            raise typer.Exit(_ALL_FAILED)


def _names(text: Optional[str]) -> Optional[list[str]]:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@contextlib.contextmanager
def _open(path: Path) -> Iterator[EvaluationFile]:
    """Open the output; say where a part of it is if the command ends early."""
    from ..evaluation.files import EvaluationFile

    file = EvaluationFile(path)
    try:
        with file:
            yield file
    except BaseException:  # Ctrl-C too: what was computed must be found again
        if file.partial.exists():
            typer.echo(f"the results so far are in {file.partial}", err=True)
        raise


class _Named:
    """The structures of files; remembers where those that were read come from."""

    def __init__(self, files: list[Path], index: str) -> None:
        self._files, self._index = files, index
        self._frames: dict[int, Frame] = {}

    def __iter__(self) -> Iterator[Atoms]:
        from ..evaluation.files import frames

        for number, (frame, atoms) in enumerate(frames(self._files, self._index)):
            self._frames[number] = frame
            yield atoms

    def frame(self, number: int) -> Frame:
        """Return where a structure comes from, once."""
        return self._frames.pop(number)


def _consume(
    model: str, stream: Iterator[Evaluation], named: _Named, file: Optional[EvaluationFile]
) -> Summary:
    from ..evaluation.files import describe

    started = time.perf_counter()
    structures = failed = natoms = 0
    ways: Counter[str] = Counter()
    errors: list[str] = []
    for evaluation in stream:
        frame: Any = named.frame(evaluation.index)
        structures += 1
        natoms += len(evaluation.source)
        if evaluation.provenance is not None:
            ways[evaluation.provenance.evaluation] += 1
        if not evaluation.ok:
            failed += 1
            if len(errors) < _LISTED:
                errors.append(f"frame {frame.number} of {frame.file}: {describe(evaluation)}")
        if file is not None:
            file.write(evaluation, frame)
    seconds = time.perf_counter() - started
    written = None if file is None else str(file.path)
    return Summary(model, structures, failed, natoms, seconds, dict(ways), tuple(errors), written)
