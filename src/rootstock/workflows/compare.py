"""Several models on the same structures: :func:`compare`."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np
from ase.stress import full_3x3_to_voigt_6_stress

from .._version import __version__
from ..errors import ConfigurationError
from ..evaluation.files import describe
from .comparison import ComparedStructure, Comparison, Failure
from .crystals import EOSTest
from .disagreement import (
    align_energies,
    error_statistics,
    force_disagreement,
    mean_forces,
    pair_differences,
)
from .model_run import RunOptions, labels_of, make_run
from .notes import notes_on
from .reference import find_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from os import PathLike

    from ase import Atoms
    from typing_extensions import Unpack

    from ..evaluation.frames import Frame
    from ..evaluation.progress import EvaluationProgress
    from ..evaluation.result import Evaluation
    from ..runtime.arguments import CalculatorArguments
    from .model_run import ModelLike, ModelRun
    from .reference import Reference

__all__ = ["TESTS", "compare"]

#: What can be computed beside energies and forces of the structures.
TESTS = ("eos",)
#: Models of a comparison without a reference.
_PAIR = 2


def compare(  # noqa: PLR0913  keywords, as those of evaluate
    structures: Iterable[Atoms],
    models: Sequence[ModelLike],
    *,
    tests: Sequence[str] = (),
    reference: Optional[Iterable[Atoms]] = None,
    frames: Optional[Sequence[Frame]] = None,
    store: Union[str, PathLike[str], None] = None,
    exact: bool = False,
    command: str = "",
    progress: Union[bool, Callable[[EvaluationProgress], object], None] = None,
    **arguments: Unpack[CalculatorArguments],
) -> Comparison:
    """Ask several models about the same structures.

    The models run one after the other, so that their speeds compare. A structure that a model can't
    evaluate is an error of that structure; a model that does not start is listed with its reason.

    Parameters
    ----------
    structures : iterable of Atoms
        Results that they carry are the reference, unless `reference` is given.
    models : sequence of str, (str, dict), WorkerSpec or Evaluator
        Model strings, with arguments of their own perhaps, or anything else that
        :func:`rootstock.evaluate` takes. The same model may occur more than once.
    tests : sequence of str
        ``"eos"``: equations of state of the first crystal of each chemical formula.
    reference : iterable of Atoms, optional
        The same structures with energies or forces, in any order.
    frames : sequence of Frame, optional
        Where the structures come from.
    store : path-like, optional
        A folder that keeps each outcome: started again, only what is missing is evaluated.
    exact : bool
        Evaluate structures one by one, see :func:`rootstock.evaluate`.
    command : str
        What the user typed, for the provenance.
    progress : bool or callable, optional
        As for :func:`rootstock.evaluate`.
    **arguments
        Those of :class:`rootstock.RootstockCalculator`, for all models.

    Raises
    ------
    ConfigurationError, UnknownNameError, EnvironmentFileError
        No structures, fewer than two models (one, with a reference), an unknown model or test, an
        invalid argument, or a reference without results.
    OutputError
        The store can't be written.
    """
    images = list(structures)
    check_tests(tests)
    known = find_reference(images, reference)
    _check_counts(images, models, known)
    runs = [make_run(model, arguments) for model in models]
    options = RunOptions(_folder(store), exact, progress)
    eos = EOSTest(images if "eos" in tests else [])
    started = time.perf_counter()
    for run in runs:
        run.run([*images, *eos.images], options)
    provenance = {
        "rootstock": __version__,
        "date": dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "tests": list(tests),
        "exact": exact,
        "evaluation_seconds": time.perf_counter() - started,
    }
    return _Comparer(images, runs, known, eos).comparison(frames, provenance)


def check_tests(tests: Sequence[str]) -> None:
    """Raise :class:`ConfigurationError` for an unknown test."""
    for test in tests:
        if test not in TESTS:
            msg = f"unknown test {test!r}: there is {', '.join(TESTS)}"
            raise ConfigurationError(msg)


def _check_counts(
    images: Sequence[Atoms], models: Sequence[ModelLike], known: Optional[Reference]
) -> None:
    if not images:
        msg = "there are no structures to compare models on: give at least one"
        raise ConfigurationError(msg)
    if isinstance(models, str) or len(models) < (1 if known else _PAIR):
        msg = (
            f"a comparison needs a list of at least two models, not {models!r}; or one model, and "
            "structures with reference energies or forces"
        )
        raise ConfigurationError(msg)


def _folder(store: Union[str, PathLike[str], None]) -> Optional[Path]:
    if store is None:
        return None
    folder = Path(store)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"the folder {folder} for the results can't be made: {error}"
        raise ConfigurationError(msg) from error
    return folder


class _Comparer:
    """Turns the evaluations of all models into a comparison."""

    def __init__(
        self,
        images: Sequence[Atoms],
        runs: Sequence[ModelRun],
        known: Optional[Reference],
        eos: EOSTest,
    ) -> None:
        self._images, self._runs, self._known, self._eos = images, runs, known, eos
        self._labels = labels_of(runs)
        size = (len(runs), len(images))
        self._energies = np.full(size, np.nan)
        self._stress = np.full((*size, 6), np.nan)
        self._forces = tuple(np.full((len(runs), len(atoms), 3), np.nan) for atoms in images)
        self._failures: list[Failure] = []
        for k, run in enumerate(runs):
            for evaluation in run.evaluations[: len(images)]:
                self._add(k, evaluation)

    def _add(self, k: int, evaluation: Evaluation) -> None:
        s = evaluation.index
        if not evaluation.ok:
            self._failures.append(Failure(k, s, describe(evaluation)))
            return
        results = evaluation.results
        if "energy" in results:
            self._energies[k, s] = float(np.asarray(results["energy"]).reshape(()))
        if "forces" in results:
            self._forces[s][k] = results["forces"]
        if "stress" in results:
            stress = np.asarray(results["stress"], float)
            full = stress.shape == (3, 3)
            self._stress[k, s] = full_3x3_to_voigt_6_stress(stress) if full else stress

    def comparison(
        self, frames: Optional[Sequence[Frame]], provenance: dict[str, Any]
    ) -> Comparison:
        """Return the comparison."""
        forces, known = self._forces, self._known
        stds = tuple(map(force_disagreement, forces))
        per_structure, pairs = pair_differences(forces)
        numbers = [atoms.numbers for atoms in self._images]
        has_energies = known is not None and known.energies
        energies = align_energies(
            self._labels,
            self._energies,
            numbers,
            known.energies_eV if known is not None and has_energies else None,
        )
        with_forces = [
            k for k in range(len(self._runs)) if any(not np.isnan(f[k]).all() for f in forces)
        ]
        if known is not None and known.forces:
            forces_target, target = "reference", known.forces_eV_per_A
        else:
            forces_target, target = "mean", mean_forces(forces, with_forces)
        models = tuple(
            run.described(label, len(self._images)) for run, label in zip(self._runs, self._labels)
        )
        return Comparison(
            models=models,
            structures=self._structures(frames),
            energies_eV=self._energies,
            forces_eV_per_A=forces,
            stress_eV_per_A3=self._stress,
            failures=tuple(self._failures),
            pair_forces_rms_eV_per_A=per_structure,
            pairs_eV_per_A=pairs,
            forces_std_eV_per_A=stds,
            forces_std_max_eV_per_A=np.array([std.max(initial=-np.inf) for std in stds]),
            forces_target=forces_target,
            target_forces_eV_per_A=target,
            energies=energies,
            statistics=tuple(
                error_statistics([f[k] for f in forces], target, energies.deviations_eV_per_atom[k])
                for k in range(len(models))
            ),
            eos=self._eos.curves([run.evaluations for run in self._runs], len(self._images)),
            notes=notes_on(models, forces, known, self._eos.left_out),
            provenance=provenance,
        )

    def _structures(self, frames: Optional[Sequence[Frame]]) -> tuple[ComparedStructure, ...]:
        return tuple(
            ComparedStructure(
                index=index,
                file=frames[index].file if frames else "",
                frame=frames[index].number if frames else index,
                formula=atoms.get_chemical_formula(),
                numbers=atoms.numbers.copy(),
                positions_A=atoms.positions.copy(),
                cell_A=atoms.cell.array.copy(),
                pbc=(bool(atoms.pbc[0]), bool(atoms.pbc[1]), bool(atoms.pbc[2])),
            )
            for index, atoms in enumerate(self._images)
        )
