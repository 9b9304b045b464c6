"""The ASE face: :class:`RootstockCalculator`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Optional, Union

import numpy as np
from ase.calculators.calculator import Calculator, all_changes, compare_atoms

from . import environments
from ._version import __version__
from .runtime.arguments import make_spec, refuse_keywords
from .structures import to_atoms, from_atoms
from .errors import ConfigurationError, PropertyMissingError, StructureError
from .runtime.session import SessionHandle, Session
from .support.suggestions import similar_names, did_you_mean
from .protocol.values import encode

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from ase import Atoms
    from typing_extensions import Self

    from .protocol.data import Structure, WorkerReport
    from .runtime.spec import WorkerSpec
    from .support.progress import Progress

__all__ = ["RootstockCalculator"]

#: Half an hour: importing a model from a busy parallel file system can take minutes.
_STARTUP_TIMEOUT = 1800.0


class RootstockCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """An ASE calculator whose model runs in its own environment and process.

    Parameters
    ----------
    model : str
        ``"chgnet"``, ``"mace-medium"``, ``"mace-/path/to/weights.pt"``: the name of an
        environment, then perhaps a dash and what its ``setup()`` gets as ``model``. With
        `environment`, all of it goes to ``setup()`` verbatim.
    root, cluster : path-like or str, optional
        Where environments and weights are: a folder, or the name of a cluster. At most one; with
        neither, ``ROOTSTOCK_ROOT``, the config file, then a folder of the user's own.
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
        Where the first build shows how it goes; by default what fits stderr.

    Raises
    ------
    ConfigurationError
        Arguments that make no sense, or unknown ones.
    UnknownNameError
        A model or cluster that nobody knows.
    EnvironmentFileError
        The model's environment file is missing or broken.
    WeightsError
        Weights that were fetched are missing or changed.

    Notes
    -----
    The worker starts at the first need and lives on across calculations, until :meth:`close`, the
    end of a ``with`` block, or the end of this object and all its copies. Copies share the worker;
    a pickle starts its own. Results are exactly those of the model's own calculator, in ASE's
    units: energy in eV, forces in eV/Å, stress in eV/Å³ (positive under tension; Voigt order
    xx yy zz yz xz xy).
    """

    name = "rootstock"

    def __init__(  # noqa: PLR0913  the public face: each is a keyword that users know
        self,
        model: Optional[str] = None,
        *,
        root: Optional[Union[str, os.PathLike[str]]] = None,
        cluster: Optional[str] = None,
        environment: Optional[Union[str, os.PathLike[str]]] = None,
        device: str = "auto",
        setup_kwargs: Optional[Mapping[str, Any]] = None,
        threads: Optional[int] = None,
        timeout: Optional[float] = None,
        startup_timeout: Optional[float] = _STARTUP_TIMEOUT,
        progress: Optional[Progress] = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            refuse_keywords(unknown)
        spec = make_spec(
            model,
            root=root,
            cluster=cluster,
            environment=environment,
            device=device,
            setup_kwargs=setup_kwargs,
            threads=threads,
            timeout=timeout,
            startup_timeout=startup_timeout,
            progress=progress,
        )
        self.results: dict[str, Any] = {}
        self._structure: Optional[Structure] = None
        self._join(Session(spec))
        super().__init__()
        self.parameters.update(self._describe())

    # --- the worker -----------------------------------------------------------------------------

    def _join(self, session: Session) -> None:
        self._handle = SessionHandle(session, self)

    @property
    def _session(self) -> Session:
        return self._handle.session

    def close(self) -> None:
        """Give up the worker; it ends unless a copy of this calculator still needs it.

        The calculator stays usable: the next calculation starts a worker again.
        """
        self._handle.give_up()

    def __enter__(self) -> Self:
        """Return the calculator itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Give up the worker."""
        self.close()

    @property
    def report(self) -> WorkerReport:
        """What the worker says of itself; starts it if need be."""
        return self._handle.hold().report()

    @property
    def device(self) -> str:
        """The device that the model runs on; before the start, what was asked for."""
        started = self._session.started
        return self._session.spec.device if started is None else started.device

    @property
    def implemented_properties(self) -> list[str]:
        """The model's own list of properties; starts the worker if need be."""
        return list(self.report.implemented_properties)

    @property
    def spec(self) -> WorkerSpec:
        """What its workers are started with; frozen, and can be pickled."""
        return self._session.spec

    @property
    def log(self) -> str:
        """What the worker printed last."""
        return self._session.log

    @property
    def provenance(self) -> dict[str, Any]:
        """Which model, environment, device and versions stand behind the results; JSON-able."""
        report, spec = self.report, self.spec
        environment = self._session.environment
        return {
            "rootstock": __version__,
            "model": spec.text,
            "environment": spec.file.name,
            "environment_key": "" if environment is None else environment.key,
            "calculator": report.calculator,
            "device": report.device,
            "threads": spec.threads,
            "python": report.python,
            "packages": dict(report.packages),
            "weights": environments.weights_provenance(spec.root, spec.file.name, spec.argument),
        }

    # --- ASE ------------------------------------------------------------------------------------

    def calculate(
        self,
        atoms: Optional[Atoms] = None,
        properties: Iterable[str] = ("energy",),
        system_changes: Iterable[str] = all_changes,  # noqa: ARG002  ASE's; changes are looked up
    ) -> None:
        """Calculate `properties` of `atoms`; :attr:`results` then holds all the model gave.

        Raises
        ------
        StructureError
            No atoms, or positions that are not finite.
        PropertyMissingError
            The model has no such property.
        ModelError, WorkerDiedError, CallTimeoutError
            The calculation failed; the next one may be tried on this same calculator.
        """
        wanted = (properties,) if isinstance(properties, str) else tuple(properties)
        with self._session.lock:
            self._evaluate(self._look(atoms), wanted)

    def get_property(
        self,
        name: str,
        atoms: Optional[Atoms] = None,
        allow_calculation: bool = True,  # noqa: FBT001, FBT002  ASE's
    ) -> Any:
        """Return a property, calculating it if `atoms` changed in any way a model can see.

        Returns
        -------
        ndarray or number or None
            A copy in the model's own dtype and shape; None if it is not known and
            `allow_calculation` is false.

        Raises
        ------
        PropertyMissingError
            The model has no such property.
        """
        with self._session.lock:
            structure = self._look(atoms)
            started = self._session.started
            if started is not None and name not in started.implemented_properties:
                self._refuse_property(name)
            if name not in self.results:
                if not allow_calculation:
                    return None
                self._evaluate(structure, (name,))
            if name not in self.results:
                self._refuse_property(name)
            result = self.results[name]
            return result.copy() if isinstance(result, np.ndarray) else result

    def _look(self, atoms: Optional[Atoms]) -> Structure:
        """Return the structure in question, forgetting the results of any other."""
        if atoms is None:
            if self._structure is None:
                msg = "no atoms were given, and none were calculated before"
                raise StructureError(msg)
            return self._structure
        structure = from_atoms(atoms, self._structure)
        if structure is not self._structure:
            self.results = {}
            self._structure = structure
        return structure

    def _evaluate(self, structure: Structure, wanted: tuple[str, ...]) -> None:
        """Add what the worker gives for `structure` to the results."""
        session = self._handle.hold()
        implemented = session.report().implemented_properties
        for name in wanted:
            if name not in implemented:
                self._refuse_property(name)
        self.results.update(session.compute(structure, wanted))

    def _refuse_property(self, name: str) -> NoReturn:
        implemented = self._session.report().implemented_properties
        similar = similar_names(name, implemented)
        msg = (
            f"model {self._session.spec.text!r} has no property {name!r} here{did_you_mean(similar)} "
            f"It has {', '.join(implemented)}."
        )
        raise PropertyMissingError(msg)

    @property
    def atoms(self) -> Optional[Atoms]:
        """A copy of the Atoms of the last calculation, or None."""
        return None if self._structure is None else to_atoms(self._structure)

    @atoms.setter
    def atoms(self, value: Optional[Atoms]) -> None:
        self._structure = None if value is None else from_atoms(value)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation, in ASE's words; empty if nothing did.

        Changes that ASE has no word for count too: ``"info"`` stands for them.
        """
        if self._structure is None:
            return list(all_changes)
        if from_atoms(atoms, self._structure) is self._structure:
            return []
        return list(compare_atoms(self.atoms, atoms, tol=tol)) or ["info"]

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Refuse: what a calculator was made with stays."""
        if kwargs:
            msg = f"{', '.join(kwargs)} can't be changed afterwards: make another calculator"
            raise ConfigurationError(msg)
        return {}

    def get_spin_polarized(self) -> bool:
        """Tell if the model has magnetic moments."""
        return "magmoms" in self.report.implemented_properties

    # --- copies ---------------------------------------------------------------------------------

    def __copy__(self) -> RootstockCalculator:
        """Return a copy that shares the worker."""
        return self._copied(dict(self.results))

    def __deepcopy__(self, memo: dict[int, Any]) -> RootstockCalculator:
        """Return a copy that shares the worker."""
        results = {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in self.results.items()
        }
        memo[id(self)] = twin = self._copied(results)
        return twin

    def _copied(self, results: dict[str, Any]) -> RootstockCalculator:
        twin = type(self).__new__(type(self))
        state = {k: v for k, v in vars(self).items() if k != "_lease"}
        twin.__dict__.update(
            state, parameters=type(self.parameters)(self.parameters), results=results
        )
        twin._join(self._session)  # noqa: SLF001  its own class
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the worker, for a pickle."""
        state = {k: v for k, v in vars(self).items() if k != "_lease"}
        return {**state, "recipe": self._session.spec}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over a pickled state; a worker of its own starts when it is needed."""
        spec = state.pop("recipe")
        self.__dict__.update(state)
        self._join(Session(spec))

    def _describe(self) -> dict[str, Any]:
        """Return the parameters for ``todict``, JSON-able, without defaults."""
        spec = self._session.spec
        described = {
            "model": spec.text,
            "root": None if spec.root is None else str(spec.root.path),
            "environment": str(spec.file.path) if spec.file.origin == "file" else None,
            "device": spec.device,
            "setup_kwargs": encode(dict(spec.options)) or None,
            "threads": spec.threads,
        }
        return {name: value for name, value in described.items() if value is not None}

    def __repr__(self) -> str:
        """Show the parameters."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({shown})"
