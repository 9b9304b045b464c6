"""The results of one structure, as ``run`` and ``demo`` show them."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import numpy as np
from ase.data import atomic_numbers
from rich.markup import escape
from rich.table import Table

from ..errors import ConfigurationError, ModelError, OutputError, PropertyMissingError
from ..properties import unit_of
from ..support.files import explain

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from ..calculator import RootstockCalculator
    from ..runtime.provenance import Provenance

__all__ = ["StructureResults", "compute_results"]


@dataclass(frozen=True)
class StructureResults:
    """The results of one structure.

    Attributes
    ----------
    formula : str
        Chemical formula.
    natoms : int
        Number of atoms.
    seconds : float
        Time for the results, including a build and the worker's start.
    results : dict
        All results of the model's calculator, in ASE's units.
    provenance : Provenance
        Model, environment, device, versions.
    written : str or None
        The file that the results were written to.
    """

    formula: str
    natoms: int
    seconds: float
    results: dict[str, Any]
    provenance: Provenance
    written: Optional[str] = None

    def renderable(self) -> Table:
        """Return a table: small values in full, arrays by shape and largest magnitude."""
        title = f"{self.formula} ({self.natoms} atoms), {self.provenance.model} on "
        title += self.provenance.gpu or self.provenance.device
        table = Table(title=title, title_justify="left", caption_justify="left")
        table.add_column("property", overflow="fold", max_width=28)
        table.add_column("value", overflow="fold", min_width=20)
        table.add_column("unit", no_wrap=True)
        for name, value in self.results.items():
            table.add_row(escape(name), escape(_shown(value)), unit_of(name))
        written = f"; written to {self.written}" if self.written else ""
        table.caption = f"{self.seconds:.2f} s{written}"
        return table


def _shown(value: Any) -> str:
    if not isinstance(value, (np.ndarray, np.generic, float, int)):
        return textwrap.shorten(str(value), 120, placeholder=" ...")
    array = np.asarray(value)
    if array.ndim == 0:
        return f"{array.item():.8g}"
    if array.size <= 9:  # noqa: PLR2004  a stress tensor
        return np.array2string(array, precision=4, max_line_width=46)
    shape = " x ".join(map(str, array.shape))
    return f"{shape}, largest magnitude {np.abs(array).max():.6g}"


def compute_results(
    atoms: Atoms, calc: RootstockCalculator, output: Optional[Path] = None
) -> StructureResults:
    """Compute energy, forces, stress and all further results; write them to `output` if given.

    Raises
    ------
    ModelError
        The model failed; the message names elements that it does not know.
    OutputError
        The file can't be written.
    """
    if output is not None:
        _check_format(output)
    started = time.perf_counter()
    atoms.calc = calc
    try:
        energy = atoms.get_potential_energy()
    except ModelError as error:
        raise _with_elements(error, atoms, calc) from error.__cause__
    for name in ("forces", "stress"):
        try:
            calc.get_property(name, atoms)
        except PropertyMissingError:
            continue  # absent from the results
    results = {"energy": energy, **calc.results}
    seconds = time.perf_counter() - started
    if output is not None:
        _write(atoms, calc.results, output)
    written = None if output is None else str(output)
    formula = atoms.get_chemical_formula()
    return StructureResults(formula, len(atoms), seconds, results, calc.provenance, written)


def _with_elements(error: ModelError, atoms: Atoms, calc: RootstockCalculator) -> ModelError:
    """Return an error that names the elements that the model does not know, if there are any."""
    if not error.remote_type:  # not the model's own: a result that is not finite, say
        return error
    spec = calc.spec
    known = spec.environment.file.elements(spec.argument)
    symbols = sorted(set(atoms.get_chemical_symbols()))
    unknown = [s for s in symbols if s not in known] if known else []
    if not unknown and error.remote_type.endswith("KeyError"):
        # how many calculators refuse an element: the missing key is its symbol or atomic number
        key = str(error).partition(": ")[2].strip("'\"")
        unknown = [s for s in symbols if key in (s, str(atomic_numbers[s]))]
    if not unknown:
        return error
    plural = "s" if len(unknown) > 1 else ""
    knows = f"; it knows {', '.join(known)}" if known else ""
    own = str(error).partition("\n")[0]
    msg = (
        f"model {spec.model!r} does not know the element{plural} {', '.join(unknown)}{knows}. "
        f"Choose another model (rootstock list). Its own error, in full with --traceback: {own}"
    )
    return ModelError(msg, error.remote_type)


def _check_format(output: Path) -> None:
    """Refuse a file whose format ASE can't tell or write, before anything is computed."""
    from ase.io.formats import filetype, ioformats

    try:
        known = ioformats[filetype(str(output), read=False)]
    except Exception as error:  # ASE raises several types
        msg = f"ASE does not know the format of {output}: use a suffix such as .extxyz or .json"
        raise ConfigurationError(msg) from error
    if not known.can_write:
        msg = f"ASE can't write {known.description} ({output}): use .extxyz or .json"
        raise ConfigurationError(msg)


def _write(atoms: Atoms, results: dict[str, Any], output: Path) -> None:
    from ase.calculators.calculator import all_properties
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frozen = atoms.copy()
    known = {name: value for name, value in results.items() if name in all_properties}
    frozen.calc = SinglePointCalculator(frozen, **known)
    try:
        write(output, frozen)
    except OSError as error:
        msg = f"{output} can't be written: {explain(error)}. Choose another file with -o"
        raise OutputError(msg) from error
    except Exception as error:  # ASE's writers raise many types of errors
        msg = (
            f"ASE can't write {output}: {type(error).__name__}: {error}. Choose another format "
            "with -o, such as .extxyz"
        )
        raise OutputError(msg) from error
