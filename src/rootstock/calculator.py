"""The ASE calculator whose model runs in a worker: :class:`RootstockCalculator`."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional

from .evaluation.engines import check_positive
from .evaluation.evaluate import evaluations
from .evaluation.pool import Pool, PoolOptions
from .properties import property_names
from .runtime.arguments import make_spec, refuse_unknown, signature
from .runtime.handle import SessionHandle
from .runtime.preparation import prepare
from .runtime.session import Session
from .structure_calculator import StructureCalculator

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from ase import Atoms
    from typing_extensions import Self, Unpack

    from .evaluation.result import Evaluation
    from .protocol.data import Results, Structure, WorkerReport
    from .runtime.arguments import CalculatorArguments
    from .runtime.provenance import Provenance
    from .runtime.spec import WorkerSpec
    from .support.progress import Progress

__all__ = ["RootstockCalculator"]


class RootstockCalculator(StructureCalculator):
    """An ASE calculator whose model runs in its own environment and process.

    Parameters
    ----------
    model : str
        ``"chgnet"``, ``"mace-medium"``, ``"mace-/path/to/weights.pt"``: the name of an
        environment, optionally followed by a dash and the argument ``model`` of its ``setup()``.
        With `environment`, the whole string goes to ``setup()`` verbatim.
    root, cluster : path-like or str, optional
        The root with environments and weights: a folder, or the name of a cluster. At most one;
        with neither, ``ROOTSTOCK_ROOT``, the config file, then a folder of the user's own.
    checkpoint : str, optional
        A synonym of `model`.
    environment : path-like, optional
        An environment file to use as it is. Without `root` its environment is the one that
        ``uv run --script`` itself would use.
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ... or ``"auto"``: CUDA where the model's environment
        sees one. After the start the attribute :attr:`device` says which it is.
    setup_kwargs : dict, optional
        Further arguments for ``setup()``: numbers, strings, lists, dicts, NumPy arrays.
    threads : int, optional
        CPU threads of the worker. With 1 most models are repeatable bit for bit.
    timeout : float, optional
        Seconds that a calculation may take before the worker is stopped; no limit by default.
    startup_timeout : float or None
        Seconds that loading the model may take (building its environment not counted).
    progress : Progress, optional
        Shows the progress of the first build; by default what fits stderr.

    Raises
    ------
    ConfigurationError
        Invalid arguments.
    UnknownArgumentError
        A keyword argument that does not exist; also a ``TypeError``.
    UnknownNameError
        An unknown model or cluster.
    EnvironmentFileError
        The model's environment file is missing or broken.
    WeightsError
        Weights that were fetched are missing or changed.

    Notes
    -----
    The worker starts at the first calculation and keeps running until :meth:`close`, the end of a
    ``with`` block, or until this object and all its copies are deleted. Copies share the worker; an
    unpickled calculator starts its own. Results are exactly those of the model's own calculator, in
    ASE's units: energy in eV, forces in eV/Å, stress in eV/Å³ (positive under tension; Voigt order
    xx yy zz yz xz xy).
    """

    __signature__ = signature()

    def __init__(
        self,
        model: Optional[str] = None,
        *,
        progress: Optional[Progress] = None,
        **arguments: Unpack[CalculatorArguments],
    ) -> None:
        refuse_unknown(arguments)  # make_spec has a further argument, check_weights
        spec = make_spec(model, **arguments)
        self._progress = progress
        self._share(Session(spec))
        super().__init__()
        self.parameters.update(self._describe())

    # --- the worker -----------------------------------------------------------------------------

    def _share(self, session: Session) -> None:
        self._handle = SessionHandle(session, self)

    @property
    def _session(self) -> Session:
        return self._handle.session

    def _ready(self) -> Session:
        """Return the session with a prepared spec; build the environment if needed."""
        session = self._handle.hold()
        if session.spec.build is None:
            with session.lock:
                session.spec = prepare(session.spec, progress=self._progress)
        return session

    def prepare(self) -> WorkerSpec:
        """Build the environment if needed; return the spec, pinned to that build.

        Raises
        ------
        BuildError, RootError
            The environment could not be built.
        """
        return self._ready().spec

    def close(self) -> None:
        """Release the worker; it ends unless a copy of this calculator still needs it.

        The calculator stays usable: the next calculation starts a worker again.
        """
        self._handle.release()

    def __enter__(self) -> Self:
        """Return the calculator itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Release the worker."""
        self.close()

    @property
    def report(self) -> WorkerReport:
        """The worker's report; starts the worker if needed."""
        return self._ready().report()

    @property
    def device(self) -> str:
        """The device that the model runs on; before the worker starts, the requested one."""
        started = self._session.started
        return self._session.spec.device if started is None else started.device

    @property
    def spec(self) -> WorkerSpec:
        """How to start its workers; frozen and picklable."""
        return self._session.spec

    @property
    def log(self) -> str:
        """The end of the worker's output."""
        return self._session.log

    @property
    def provenance(self) -> Provenance:
        """Model, environment, device and versions behind the results; starts the worker."""
        return self._ready().provenance

    # --- where results come from ------------------------------------------------------------------

    def _locked(self) -> AbstractContextManager[object]:
        return self._session.lock

    def _model(self) -> str:
        return self._session.spec.model

    def _implemented(self) -> tuple[str, ...]:
        known = self._known_properties()
        return self.report.implemented_properties if known is None else known

    def _known_properties(self) -> Optional[tuple[str, ...]]:
        started = self._session.started
        return None if started is None else started.implemented_properties

    def _calculated(self, structure: Structure, wanted: tuple[str, ...]) -> Results:
        return self._ready().evaluate_one(structure, wanted)

    def with_own_workers(self) -> Self:
        """Return a copy that starts its own worker, from the same build."""
        twin = copy.copy(self)
        twin._share(Session(self._session.spec))  # noqa: SLF001  its own class
        return twin

    @property
    def is_started(self) -> bool:
        """Whether the worker was started before, so that the model's properties are known."""
        return self._session.started is not None

    def kill(self) -> None:
        """Kill the worker in the middle of a call; the next call starts another."""
        self._session.kill()

    # --- many structures -------------------------------------------------------------------------

    def evaluate_many(
        self,
        structures: Iterable[Atoms],
        properties: Optional[Iterable[str]] = None,
        *,
        exact: bool = False,
        batch_atoms: Optional[int] = None,
        on_error: str = "return",
    ) -> list[Evaluation]:
        """Evaluate structures in this calculator's own worker, as :func:`rootstock.evaluate` does.

        Parameters
        ----------
        structures : iterable of Atoms
            Not modified.
        properties, exact, batch_atoms, on_error
            As for :func:`rootstock.evaluate`.

        Returns
        -------
        list of Evaluation
            In the order of the structures.
        """
        if batch_atoms is not None:
            check_positive("batch_atoms", batch_atoms)
        options = PoolOptions(
            None if properties is None else property_names(properties), batch_atoms, exact
        )
        pool = Pool([self._ready()], options)
        return list(evaluations(structures, pool, on_error=on_error))

    # --- copies ---------------------------------------------------------------------------------

    def _copied(self, results: dict[str, Any]) -> Self:
        twin = super()._copied(results)
        twin._share(self._session)  # noqa: SLF001  a handle of its own
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the worker; unpickling looks the build up again."""
        state = {k: v for k, v in vars(self).items() if k != "_handle"}
        return {**state, "_progress": None, "spec": replace(self._session.spec, build=None)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled state; a new worker starts when it is needed."""
        spec = state.pop("spec")
        self.__dict__.update(state)
        self._share(Session(spec))

    def _describe(self) -> dict[str, Any]:
        """Return the parameters for ``todict``, as JSON data, without those that are None."""
        spec = self._session.spec
        file = spec.environment.file
        described = {
            "model": spec.model,
            "root": None if spec.root is None else str(spec.root.path),
            "environment": str(file.path) if file.origin == "file" else None,
            "device": spec.device,
            "setup_kwargs": json.loads(spec.options) or None,
            "threads": spec.threads,
        }
        return {name: value for name, value in described.items() if value is not None}

    def __repr__(self) -> str:
        """Show the parameters."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({shown})"
