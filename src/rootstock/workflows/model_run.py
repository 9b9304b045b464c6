"""One model of a comparison: what it is, and its evaluations of all structures."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Union

from ..errors import ConfigurationError, EnvironmentFileError, OutputError, RootstockError
from ..evaluation.engines import EngineOptions, make_engine
from ..evaluation.evaluate import evaluations
from ..evaluation.progress import reporter
from ..evaluation.stored import Campaign, StoredEngine, store_options
from ..evaluation.timed import TimedEngine
from ..runtime.arguments import make_spec
from ..runtime.spec import WorkerSpec
from .comparison import ComparedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ase import Atoms

    from ..evaluation.evaluator import Evaluator
    from ..evaluation.progress import EvaluationProgress
    from ..evaluation.result import Evaluation

__all__ = ["ModelLike", "ModelRun", "RunOptions", "labels_of", "make_run"]

#: A model string, one with arguments of its own, a spec, or anything that evaluates structures.
ModelLike = Union[str, tuple[str, "Mapping[str, Any]"], WorkerSpec, "Evaluator"]
#: Errors of what the user wrote: they end the comparison before it starts.
_OF_THE_USER = (ConfigurationError, EnvironmentFileError)


@dataclass(frozen=True)
class RunOptions:
    """How the models of a comparison evaluate.

    Attributes
    ----------
    store : Path or None
        A folder with a store for each model.
    exact : bool
        Structures are evaluated one by one.
    progress : bool or callable or None
        As for :func:`rootstock.evaluate`.
    """

    store: Optional[Path] = None
    exact: bool = False
    progress: Union[bool, Callable[[EvaluationProgress], object], None] = None


class ModelRun:
    """A model, and its evaluations when :meth:`run` has returned.

    Parameters
    ----------
    name : str
        Model string.
    source : WorkerSpec, Evaluator or RootstockError
        The model, or why there is none.

    Attributes
    ----------
    evaluations : list of Evaluation
        In the order of the structures; fewer than these if the model did not start, or was lost.
    reason : str
        Why; else empty.
    """

    def __init__(self, name: str, source: Union[WorkerSpec, Evaluator, RootstockError]) -> None:
        self.name = name
        self.source = source
        self.evaluations: list[Evaluation] = []
        self.reason = _described(source) if isinstance(source, RootstockError) else ""
        self._timed: Optional[TimedEngine] = None

    @property
    def settings(self) -> dict[str, Any]:
        """Arguments of ``setup()`` that the user gave."""
        return self.source.setup_options if isinstance(self.source, WorkerSpec) else {}

    def run(self, structures: Sequence[Atoms], options: RunOptions) -> None:
        """Evaluate the structures; an error of the model as a whole becomes :attr:`reason`.

        Raises
        ------
        ConfigurationError, OutputError
            The store belongs to another model, or can't be written.
        """
        if isinstance(self.source, RootstockError):
            return
        try:
            self._evaluate(self.source, structures, options)
        except (ConfigurationError, OutputError):
            raise
        except RootstockError as error:
            self.reason = _described(error)

    def _evaluate(
        self,
        source: Union[WorkerSpec, Evaluator],
        structures: Sequence[Atoms],
        options: RunOptions,
    ) -> None:
        """Do what :func:`rootstock.evaluate` does, with an engine that measures."""
        if isinstance(source, WorkerSpec):
            given = EngineOptions(exact=options.exact)
        else:  # one that lacks a property that it is asked for fails; it may return more
            given = EngineOptions(properties=("energy", "forces"))
        engine, spec = make_engine(source, given, {})
        self._timed = TimedEngine(engine)
        outer: Union[TimedEngine, StoredEngine] = self._timed
        if options.store is not None:
            path = options.store / f"{_file_stem(self.name, self.settings)}.db"
            kept = store_options(path, retry_errors=False)
            settings = {"properties": None, "exact": options.exact}
            if kept is not None:
                outer = StoredEngine(outer, kept, Campaign(spec, settings, None, len(structures)))
        try:
            for evaluation in evaluations(
                structures, outer, shown=reporter(options.progress, self.name)
            ):
                self.evaluations.append(evaluation)  # kept if an error ends this
        finally:
            outer.close()

    def described(self, label: str, structures: int) -> ComparedModel:
        """Return what a comparison says about the model.

        Parameters
        ----------
        label : str
            Its name in the comparison.
        structures : int
            How many of the evaluations belong to the structures that are compared.
        """
        compared = self.evaluations[:structures]
        file, argument = None, ""
        if isinstance(self.source, WorkerSpec):
            file, argument = self.source.environment.file, self.source.argument
        return ComparedModel(
            label=label,
            model=self.name,
            reason=self.reason,
            licence=file.licence(argument) if file else "",
            level_of_theory=file.level_of_theory(argument) if file else "",
            elements=file.elements(argument) if file else (),
            evaluated=sum(e.ok for e in compared),
            failed=sum(not e.ok for e in compared),
            stresses=sum(e.ok and "stress" in e.results for e in compared),
            natoms=self._timed.natoms if self._timed else 0,
            seconds=self._timed.seconds if self._timed else 0.0,
            peak_memory_MiB=self._timed.peak_memory_MiB if self._timed else None,
            settings=self.settings,
            provenance=self._provenance(),
        )

    def _provenance(self) -> dict[str, Any]:
        for evaluation in self.evaluations:
            provenance = evaluation.provenance
            if provenance is not None:
                return dict(provenance if isinstance(provenance, dict) else provenance.as_dict())
        return {}


def make_run(model: ModelLike, arguments: Mapping[str, Any]) -> ModelRun:
    """Return a model of a comparison; missing weights and the like become its reason.

    Raises
    ------
    ConfigurationError, UnknownNameError, EnvironmentFileError
        The model does not exist, or an argument is invalid.
    """
    if isinstance(model, tuple):
        model, own = model
        arguments = {**arguments, **own}
    if not isinstance(model, str):
        return ModelRun(_name_of(model), model)
    try:
        return ModelRun(model, make_spec(model, **arguments))
    except _OF_THE_USER:
        raise
    except RootstockError as error:
        return ModelRun(model, error)


def _name_of(model: Union[WorkerSpec, Evaluator]) -> str:
    if isinstance(model, WorkerSpec):
        return model.model
    provenance = model.provenance
    named = provenance.get("model") if isinstance(provenance, dict) else None
    return str(named or getattr(provenance, "model", "") or type(model).__name__)


def labels_of(runs: Sequence[ModelRun]) -> tuple[str, ...]:
    """Return a name for each model; equal model strings get their settings, or a number."""
    names = [run.name for run in runs]
    labels: list[str] = []
    for run in runs:
        label = run.name
        if names.count(label) > 1 and run.settings:
            label += f" ({', '.join(f'{k}={v}' for k, v in run.settings.items())})"
        number, candidate = 1, label
        while candidate in labels:
            number += 1
            candidate = f"{label} #{number}"
        labels.append(candidate)
    return tuple(labels)


def _file_stem(name: str, settings: Mapping[str, Any]) -> str:
    """Return a file name that a model with these settings alone has."""
    digest = hashlib.sha256(f"{name} {sorted(settings.items())!r}".encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)[-60:]}-{digest}"


def _described(error: RootstockError) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
