"""Writing evaluations to files, one at a time."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any, Optional, Protocol

import numpy as np
from ase.io import Trajectory, write
from ase.stress import full_3x3_to_voigt_6_stress
from ase.units import GPa

from ..errors import ConfigurationError, OutputError
from ..support.files import explain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms
    from typing_extensions import Self

    from .frames import Frame
    from .result import Evaluation

__all__ = ["FORMATS", "EvaluationFile", "check_output", "describe", "numbers"]

#: Suffixes that evaluations can be written to.
FORMATS = (".extxyz", ".xyz", ".traj", ".csv", ".json")
_VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
_COLUMNS = (
    "index",
    "file",
    "frame",
    "formula",
    "natoms",
    "energy_eV",
    "energy_per_atom_eV",
    "fmax_eV_per_A",
    *(f"stress_{component}_GPa" for component in _VOIGT),
    "error",
)


class _Sink(Protocol):
    def write(self, evaluation: Evaluation, frame: Frame) -> None: ...

    def close(self) -> None: ...


class EvaluationFile:
    """A file of evaluations; a context manager.

    What is written goes to ``partial-NAME`` beside the file, which takes its place at the end. If
    the block ends with an error, the partial file stays.

    Parameters
    ----------
    path : Path
        Its suffix decides the format, see :data:`FORMATS`.

    Attributes
    ----------
    is_empty : bool
        Whether nothing was written yet.

    Raises
    ------
    ConfigurationError
        The suffix is another one.
    OutputError
        The file can't be written.
    """

    def __init__(self, path: Path) -> None:
        check_output(path)
        self.path = path
        self.is_empty = True
        self.partial = path.with_name(f"partial-{path.name}")
        kinds: dict[str, Callable[[Path], _Sink]] = {".csv": _Csv, ".json": _Json, ".traj": _Traj}
        try:
            self.partial.unlink(missing_ok=True)
            self._sink: _Sink = kinds.get(path.suffix, _Xyz)(self.partial)
        except OSError as error:
            raise _refused(path, explain(error)) from error

    def __enter__(self) -> Self:
        """Return the file itself."""
        return self

    def __exit__(self, kind: Optional[type[BaseException]], *exc_info: object) -> None:
        """Complete the file, or keep the partial one."""
        try:
            self._sink.close()
            if kind is None and self.partial.exists():
                self.partial.replace(self.path)
        except OSError as error:
            raise _refused(self.path, explain(error)) from error

    def write(self, evaluation: Evaluation, frame: Frame) -> None:
        """Write one evaluation."""
        try:
            self._sink.write(evaluation, frame)
        except OSError as error:
            raise _refused(self.path, explain(error)) from error
        self.is_empty = False


def check_output(path: Path) -> None:
    """Raise if a file's suffix or folder is wrong; touches nothing.

    Raises
    ------
    ConfigurationError
        The suffix is another one.
    OutputError
        The folder does not exist.
    """
    if path.suffix not in FORMATS:
        msg = f"{path} must end with one of {', '.join(FORMATS)}"
        raise ConfigurationError(msg)
    if not path.parent.is_dir():
        raise _refused(path, "the folder does not exist")


def _refused(path: Path, reason: str) -> OutputError:
    return OutputError(f"{path} can't be written: {reason}. Choose another file with -o")


def _with_results(evaluation: Evaluation) -> Atoms:
    """Return a structure with its results, or with ``info["rootstock_error"]``."""
    if evaluation.error is None:
        return evaluation.to_atoms()
    atoms = evaluation.source.copy()
    atoms.info["rootstock_error"] = describe(evaluation)
    return atoms


class _Xyz:
    """ASE's extended XYZ."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("w", encoding="utf-8")

    def write(self, evaluation: Evaluation, frame: Frame) -> None:
        del frame
        write(self._stream, _with_results(evaluation), format="extxyz")

    def close(self) -> None:
        self._stream.close()


class _Traj:
    """ASE's trajectory format."""

    def __init__(self, path: Path) -> None:
        self._trajectory = Trajectory(path, "w")

    def write(self, evaluation: Evaluation, frame: Frame) -> None:
        del frame
        self._trajectory.write(_with_results(evaluation))

    def close(self) -> None:
        self._trajectory.close()


class _Csv:
    """One row for each structure, with units in the names of the columns."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._stream, _COLUMNS)
        self._writer.writeheader()

    def write(self, evaluation: Evaluation, frame: Frame) -> None:
        atoms = evaluation.source
        row: dict[str, Any] = {
            "index": evaluation.index,
            "file": frame.file,
            "frame": frame.number,
            "formula": atoms.get_chemical_formula(),
            "natoms": len(atoms),
            "error": describe(evaluation),
        }
        if evaluation.error is None:
            row |= numbers(evaluation)
        self._writer.writerow(row)

    def close(self) -> None:
        self._stream.close()


def numbers(evaluation: Evaluation) -> dict[str, float]:
    """Return energy, largest force and stress, with units in their names, as far as they exist."""
    results, found = evaluation.results, {}
    if "energy" in results:
        energy = float(results["energy"])
        found = {"energy_eV": energy, "energy_per_atom_eV": energy / len(evaluation.source)}
    if "forces" in results:
        forces = np.asarray(results["forces"], float)
        found["fmax_eV_per_A"] = float(np.sqrt((forces**2).sum(axis=1).max(initial=0.0)))
    if "stress" in results:
        stress = np.asarray(results["stress"], float)
        voigt = full_3x3_to_voigt_6_stress(stress) if stress.shape == (3, 3) else stress
        found |= {f"stress_{c}_GPa": float(s / GPa) for c, s in zip(_VOIGT, voigt)}
    return found


class _Json:
    """A list of objects with all results and the provenance."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("w", encoding="utf-8")
        self._stream.write("[")
        self._separator = "\n"

    def write(self, evaluation: Evaluation, frame: Frame) -> None:
        document: dict[str, Any] = {
            "index": evaluation.index,
            "file": frame.file,
            "frame": frame.number,
            "formula": evaluation.source.get_chemical_formula(),
            "error": describe(evaluation) or None,
            "results": {},
        }
        if evaluation.error is None:
            document["results"] = {name: _plain(v) for name, v in evaluation.results.items()}
        provenance = evaluation.provenance
        if isinstance(provenance, dict):  # of an evaluator
            document["provenance"] = provenance
        elif provenance is not None:
            document["provenance"] = {
                "model": provenance.model,
                "identity": provenance.identity,
                "build": provenance.build,
                "device": provenance.gpu or provenance.device,
                "evaluation": provenance.evaluation,
            }
        self._stream.write(self._separator + json.dumps(document, default=str))
        self._separator = ",\n"

    def close(self) -> None:
        self._stream.write("\n]\n")
        self._stream.close()


def _plain(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return value if isinstance(value, (bool, int, float, str, list, type(None))) else str(value)


def describe(evaluation: Evaluation) -> str:
    """Return the type and first line of an evaluation's error; empty without one."""
    error = evaluation.error
    if error is None:
        return ""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
