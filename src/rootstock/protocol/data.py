"""The data in the messages: structures to the worker, results and a report back.

Loaded by the worker too: Python 3.9, standard library and NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FixedInputs", "Results", "Structure", "WorkerReport"]


@dataclass(frozen=True)
class FixedInputs:
    """Inputs that stay the same while atoms move; sent only when they change.

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

    def same_as(self, other: Optional[FixedInputs]) -> bool:
        """Return whether all values and dtypes are equal; fast for the same object."""
        if other is None or self is other:
            return other is not None
        return (
            self.info == other.info
            and self.arrays.keys() == other.arrays.keys()
            and all(
                array.dtype == other.arrays[name].dtype
                and np.array_equal(array, other.arrays[name])
                for name, array in self.arrays.items()
            )
        )


@dataclass(frozen=True)
class Structure:
    """One complete configuration.

    Attributes
    ----------
    fixed_inputs : FixedInputs
        Species, boundary conditions, other per-atom arrays and ``info``.
    positions : ndarray of float64, shape (n, 3), C-contiguous
        In Å.
    cell : ndarray of float64, shape (3, 3), C-contiguous
        Lattice vectors as rows, in Å; zero rows for missing ones.
    """

    fixed_inputs: FixedInputs
    positions: np.ndarray
    cell: np.ndarray


#: Results by ASE's property names (``energy`` in eV, ``forces`` in eV/Å, ``stress`` in eV/Å³,
#: positive under tension, Voigt order xx yy zz yz xz xy, ...) with the dtype and shape that the
#: model's own calculator returned.
Results = dict[str, Any]


@dataclass(frozen=True)
class WorkerReport:
    """What a worker reports once its model is loaded.

    Attributes
    ----------
    implemented_properties : tuple of str
        ASE's names of the properties that the model's calculator implements.
    device : str
        The device that the model runs on, e.g. ``"cpu"`` or ``"cuda:0"``.
    calculator : str
        Qualified class name of the model's calculator.
    python : str
        Version of the worker's Python.
    packages : mapping of str to str
        Versions of the environment's declared dependencies, NumPy and ASE.
    pid : int or None
        Process id of the worker.
    opened : tuple of str
        Files in the root's caches that loading the model opened, if the worker was told to record
        them.
    gpu : str
        Name of the GPU, e.g. ``"NVIDIA H200"``; empty on other devices.
    precision : mapping of str to str
        PyTorch's default dtype, matrix multiplication precision and TF32 switches after loading;
        empty for models without PyTorch.
    settings : mapping
        Keyword arguments that ``setup()`` ran with, its defaults included.
    evaluates_batches : bool
        Whether the environment file defines ``evaluate_batch()``.
    """

    implemented_properties: tuple[str, ...]
    device: str
    calculator: str
    python: str
    packages: Mapping[str, str]
    pid: Optional[int] = None
    opened: tuple[str, ...] = ()
    gpu: str = ""
    precision: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    evaluates_batches: bool = False
