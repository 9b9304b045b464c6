"""The frozen things that cross rooms. Loaded by the worker too: Python 3.9, stdlib and numpy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "BuildOptions",
    "BuiltEnvironment",
    "EnvironmentFile",
    "ModelSpec",
    "Results",
    "Structure",
    "Topology",
    "WorkerReport",
]


@dataclass(frozen=True)
class Topology:
    """What stays the same while atoms move. Compared and sent only when it changes.

    Attributes
    ----------
    arrays : mapping of str to ndarray
        ``numbers`` (int, shape ``(n,)``), ``pbc`` (bool, shape ``(3,)``) and every other per-atom
        array (first axis ``n``) that a model may read: ``initial_magmoms``, ``initial_charges``,
        ``tags``, ``masses``, ...
    info : bytes
        ``Atoms.info`` as canonical JSON, see :mod:`rootstock.protocol.values`.
    """

    arrays: Mapping[str, np.ndarray]
    info: bytes = b"{}"

    @property
    def natoms(self) -> int:
        """Number of atoms."""
        return len(self.arrays["numbers"])

    def same_as(self, other: Optional[Topology]) -> bool:
        """Tell if `other` holds the same; quick for the same object, which is the usual case."""
        if other is None or self is other:
            return other is not None
        return (
            self.info == other.info
            and self.arrays.keys() == other.arrays.keys()
            and all(
                mine.dtype == other.arrays[name].dtype and np.array_equal(mine, other.arrays[name])
                for name, mine in self.arrays.items()
            )
        )


@dataclass(frozen=True)
class Structure:
    """One complete configuration.

    Attributes
    ----------
    topology : Topology
        Species, boundary conditions and the other slow things.
    positions : ndarray of float64, shape (n, 3), C-contiguous
        In Å.
    cell : ndarray of float64, shape (3, 3), C-contiguous
        Lattice vectors as rows, in Å; zero rows for missing ones.
    """

    topology: Topology
    positions: np.ndarray
    cell: np.ndarray


#: Results by ASE's property names (``energy`` in eV, ``forces`` in eV/Å, ``stress`` in eV/Å³,
#: positive when stretched, Voigt order xx yy zz yz xz xy, ...) with the dtype and shape that the
#: model's own calculator gave them.
Results = dict[str, Any]


@dataclass(frozen=True)
class ModelSpec:
    """A model string, resolved.

    Attributes
    ----------
    text : str
        As the user wrote it.
    environment : str
        Name of the environment.
    argument : str
        What ``setup()`` gets as ``model``.
    """

    text: str
    environment: str
    argument: str


@dataclass(frozen=True)
class EnvironmentFile:
    """An environment file that was read (never executed).

    Attributes
    ----------
    name : str
        The name in model strings and in the root.
    path : pathlib.Path
        Where it lies.
    metadata : mapping
        The parsed PEP 723 block.
    models : mapping of str to str
        The literal ``MODELS``: argument to one-line description.
    origin : str
        ``"overlay"``, ``"root"``, ``"catalogue"`` or ``"file"``.
    summary : str
        First line of its docstring.
    """

    name: str
    path: Path
    metadata: Mapping[str, Any]
    models: Mapping[str, str] = field(default_factory=dict)
    origin: str = "root"
    summary: str = ""

    @property
    def settings(self) -> Mapping[str, Any]:
        """The ``[tool.rootstock]`` table."""
        table: Mapping[str, Any] = self.metadata.get("tool", {}).get("rootstock", {})
        return table

    def licence(self, model: str = "") -> str:
        """Return the licence of a model's weights, as the file states it; may be empty."""
        special = self.settings.get("licences", {})
        return str(special.get(model, self.settings.get("licence", "")))

    def elements(self, model: str = "") -> tuple[str, ...]:
        """Return the elements that a model claims to work for; empty if the file does not say."""
        stated = self.settings.get("elements", "")
        if not isinstance(stated, str):
            stated = stated.get(model or "default", "")
        return tuple(str(stated).split())

    @property
    def requires_python(self) -> str:
        """The ``requires-python`` specifier, or the oldest Python that a worker runs on."""
        return str(self.metadata.get("requires-python", ">=3.9"))


@dataclass(frozen=True)
class BuildOptions:
    """How to lock and build, beyond what the environment file says.

    Attributes
    ----------
    python : str or None
        A version or an interpreter; by default the newest one for which there are wheels.
    torch_backend : str or None
        uv's name of a PyTorch build: ``"cpu"``, ``"cu128"``, ``"auto"``, ...
    system_site_packages : bool or None
        Lay the environment over what `python` has installed; None as the file says.
    find_links : tuple of str
        Folders with wheels.
    offline : bool
        Use no network.
    upgrade : bool
        Resolve anew instead of following the lock.
    force : bool
        Build even if what is there fits.
    """

    python: Optional[str] = None
    torch_backend: Optional[str] = None
    system_site_packages: Optional[bool] = None
    find_links: tuple[str, ...] = ()
    offline: bool = False
    upgrade: bool = False
    force: bool = False


@dataclass(frozen=True)
class BuiltEnvironment:
    """An environment that is ready to run.

    Attributes
    ----------
    file : EnvironmentFile
        The environment file that it was built from.
    python : pathlib.Path
        Its interpreter.
    key : str
        Hash of what went in; for provenance.
    """

    file: EnvironmentFile
    python: Path
    key: str


@dataclass(frozen=True)
class WorkerReport:
    """What a worker says of itself once its model is loaded.

    Attributes
    ----------
    implemented_properties : tuple of str
        The model's own.
    device : str
        The device that the model runs on, e.g. ``"cpu"`` or ``"cuda:0"``.
    calculator : str
        Qualified class name of the model's calculator.
    python : str
        Version of the worker's Python.
    packages : mapping of str to str
        Versions of the environment's declared dependencies, NumPy and ASE.
    pid : int
        Process id of the worker.
    opened : tuple of str
        Files that loading the model opened, if the worker was told to watch.
    """

    implemented_properties: tuple[str, ...]
    device: str
    calculator: str
    python: str
    packages: Mapping[str, str]
    pid: Optional[int] = None
    opened: tuple[str, ...] = ()
