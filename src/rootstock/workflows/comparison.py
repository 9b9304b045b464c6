"""The result of a comparison of models: plain arrays, with units in their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from .eos import EOSResult

__all__ = [
    "ComparedModel",
    "ComparedStructure",
    "Comparison",
    "EOSCurve",
    "EnergyComparison",
    "ErrorStatistics",
    "Failure",
]


@dataclass(frozen=True)
class ComparedModel:
    """One of the models.

    Attributes
    ----------
    label : str
        Its name in this comparison; differs from those of the other models.
    model : str
        Model string.
    reason : str
        Why it evaluated nothing (missing weights, say); empty if it ran.
    licence, level_of_theory : str
        As the environment file states them; may be empty.
    elements : tuple of str
        The elements that the model claims to work for; empty if the file does not say.
    evaluated, failed : int
        Structures with results, and with an error.
    stresses : int
        Structures with a stress.
    natoms, seconds : int, float
        Atoms that were evaluated now, and the time of that without the start of the worker;
        outcomes from a store do not count.
    peak_memory_MiB : float or None
        Largest resident memory of the worker's process in main memory; None if it is not known.
    settings : mapping
        Arguments of ``setup()`` that the user gave.
    provenance : mapping
        How results were computed.
    """

    label: str
    model: str
    reason: str = ""
    licence: str = ""
    level_of_theory: str = ""
    elements: tuple[str, ...] = ()
    evaluated: int = 0
    failed: int = 0
    stresses: int = 0
    natoms: int = 0
    seconds: float = 0.0
    peak_memory_MiB: Optional[float] = None  # noqa: N815  the unit's symbol
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    provenance: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def atoms_per_second(self) -> Optional[float]:
        """Throughput; None if nothing was evaluated now."""
        return self.natoms / self.seconds if self.natoms and self.seconds > 0 else None


@dataclass(frozen=True)
class ComparedStructure:
    """One of the structures.

    Attributes
    ----------
    index : int
        Its place in the input, from 0.
    file, frame : str, int
        Where it comes from; empty and `index` if it is not from a file.
    formula : str
        Chemical formula.
    numbers : ndarray of shape (n,)
        Atomic numbers.
    positions_A : ndarray of shape (n, 3)
        Positions.
    cell_A : ndarray of shape (3, 3)
        Lattice vectors in rows.
    pbc : tuple of bool
        The periodic directions.
    """

    index: int
    file: str
    frame: int
    formula: str
    numbers: np.ndarray
    positions_A: np.ndarray  # noqa: N815
    cell_A: np.ndarray  # noqa: N815
    pbc: tuple[bool, bool, bool]

    @property
    def natoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @property
    def name(self) -> str:
        """File and frame, or the place in the input."""
        return f"frame {self.frame} of {self.file}" if self.file else f"structure {self.index}"


@dataclass(frozen=True)
class Failure:
    """A structure that a model could not evaluate.

    Attributes
    ----------
    model, structure : int
        Places in :attr:`Comparison.models` and :attr:`Comparison.structures`.
    error : str
        Type and first line of the error.
    """

    model: int
    structure: int
    error: str


@dataclass(frozen=True)
class ErrorStatistics:
    """Deviations of a model from the reference, or from the mean of the models.

    Attributes
    ----------
    forces_mae_eV_per_A, forces_rmse_eV_per_A : float
        Over all components of the forces; NaN without forces.
    force_components : int
        How many there are.
    energy_mae_eV_per_atom, energy_rmse_eV_per_atom : float
        Over structures, with energies on one scale; NaN without them.
    energies : int
        How many structures.
    """

    forces_mae_eV_per_A: float  # noqa: N815
    forces_rmse_eV_per_A: float  # noqa: N815
    force_components: int
    energy_mae_eV_per_atom: float  # noqa: N815
    energy_rmse_eV_per_atom: float  # noqa: N815
    energies: int


@dataclass(frozen=True)
class EnergyComparison:
    """Energies of the models on one scale.

    Attributes
    ----------
    scheme : str
        ``"per element"``: shifts for each model and element were fitted; ``"per composition"``:
        only differences between structures of one composition are compared; ``"none"``.
    target : str
        What the energies are compared with: ``"reference"`` or ``"mean"``.
    explanation : str
        The scheme and why it was chosen, as a sentence.
    deviations_eV_per_atom : ndarray of shape (M, S)
        Energy of each model on that scale minus the target; NaN where it can't be compared.
    alignment : mapping or None
        Shifts, elements, rank and what remains, of the scheme ``"per element"``.
    """

    scheme: str
    target: str
    explanation: str
    deviations_eV_per_atom: np.ndarray  # noqa: N815
    alignment: Optional[Mapping[str, Any]] = None


@dataclass(frozen=True)
class EOSCurve:
    """The equation of state of one crystal and model.

    Attributes
    ----------
    model, structure : int
        Places in :attr:`Comparison.models` and :attr:`Comparison.structures`.
    result : EOSResult or None
        None if it could not be computed.
    error : str
        Why; else empty.
    """

    model: int
    structure: int
    result: Optional[EOSResult]
    error: str = ""


@dataclass(frozen=True)
class Comparison:
    """What several models say about the same structures: M models, S structures.

    Frozen; pickles. :mod:`rootstock.reports` writes it.

    Attributes
    ----------
    models : tuple of ComparedModel
        All that were asked for, also those that did not start.
    structures : tuple of ComparedStructure
        In the order of the input.
    energies_eV : ndarray of shape (M, S)
        As the models gave them, each on its own scale; NaN where there is none.
    forces_eV_per_A : tuple of ndarray of shape (M, n, 3)
        For each structure; NaN where there are none.
    stress_eV_per_A3 : ndarray of shape (M, S, 6)
        Voigt order, ASE's sign; NaN where there is none.
    failures : tuple of Failure
        Structures that a model could not evaluate.
    pair_forces_rms_eV_per_A : ndarray of shape (S, M, M)
        For each structure, the root mean square over atoms of the distance between the forces of
        two models.
    pairs_eV_per_A : ndarray of shape (M, M)
        The same over the atoms of all structures that both evaluated.
    forces_std_eV_per_A : tuple of ndarray of shape (n,)
        For each structure and atom, the disagreement of the models that have forces for it, see
        :func:`rootstock.committee.combine`; NaN with fewer than two.
    forces_std_max_eV_per_A : ndarray of shape (S,)
        The largest of them.
    forces_target : str
        What forces are compared with: ``"reference"`` or ``"mean"`` (of all models that ran).
    target_forces_eV_per_A : tuple of ndarray of shape (n, 3)
        These forces; NaN where there are none.
    energies : EnergyComparison
        Energies on one scale.
    statistics : tuple of ErrorStatistics
        For each model.
    eos : tuple of EOSCurve
        Equations of state, if they were asked for.
    notes : tuple of str
        What a reader has to know: what could not be compared, and why.
    provenance : mapping
        Version of Rootstock, date, command, files.
    """

    models: tuple[ComparedModel, ...]
    structures: tuple[ComparedStructure, ...]
    energies_eV: np.ndarray  # noqa: N815
    forces_eV_per_A: tuple[np.ndarray, ...]  # noqa: N815
    stress_eV_per_A3: np.ndarray  # noqa: N815
    failures: tuple[Failure, ...]
    pair_forces_rms_eV_per_A: np.ndarray  # noqa: N815
    pairs_eV_per_A: np.ndarray  # noqa: N815
    forces_std_eV_per_A: tuple[np.ndarray, ...]  # noqa: N815
    forces_std_max_eV_per_A: np.ndarray  # noqa: N815
    forces_target: str
    target_forces_eV_per_A: tuple[np.ndarray, ...]  # noqa: N815
    energies: EnergyComparison
    statistics: tuple[ErrorStatistics, ...]
    eos: tuple[EOSCurve, ...] = ()
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """The models' names in this comparison."""
        return tuple(model.label for model in self.models)
