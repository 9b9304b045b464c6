"""Rows of an ASE database beside our own tables, in the same file and transaction.

They are copies for ``ase db`` and :func:`ase.db.connect`; our own tables hold everything exactly.
ASE's writer turns float32 arrays into garbage, and its lock file makes the next writer wait for
ever after a SIGKILL: so arrays are double precision, and rows go through our connection, which
needs no further lock. Arrays of shapes that ASE can't read back are left out.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Optional
from uuid import uuid4

import numpy as np
from ase.db.core import now
from ase.db.row import AtomsRow
from ase.db.sqlite import SQLite3Database
from ase.stress import full_3x3_to_voigt_6_stress

from .records import constraint_documents

if TYPE_CHECKING:
    from ase import Atoms

    from ..protocol.data import Results
    from .database import Database

__all__ = ["AseRows", "has_ase_rows"]

#: Columns for numbers, and for per-atom arrays with their shape behind the number of atoms.
_NUMBERS = ("energy", "free_energy", "magmom")
_PER_ATOM = {"forces": (3,), "magmoms": (), "charges": ()}
_INPUTS = {"initial_magmoms": (), "initial_charges": (), "masses": (), "momenta": (3,)}


def has_ase_rows(database: Database) -> bool:
    """Return whether a file has the tables of an ASE database."""
    query = "SELECT count(*) FROM sqlite_master WHERE name = 'systems'"
    return bool(database.execute(query).fetchone()[0])


class AseRows:
    """Writes rows into the tables of an ASE database.

    Parameters
    ----------
    database : Database
        Open to write. The caller begins and commits transactions, the first of them here: a
        process that is killed leaves all of ASE's tables or none.
    """

    def __init__(self, database: Database) -> None:
        connection = database.connection
        # ASE's indices take a third of the time of a row, and its searches work without them
        self._writer = SQLite3Database(
            str(database.path), create_indices=False, use_lock_file=False, serial=True
        )
        self._writer.connection = connection
        if not has_ase_rows(database):
            database.execute("BEGIN")  # ASE commits
        self._writer._initialize(connection)  # noqa: SLF001  ASE has no public way
        self.count = int(database.execute("SELECT count(*) FROM systems").fetchone()[0])

    def write(self, atoms: Atoms, results: Results, model: str, position: int) -> int:
        """Write a row; return its id.

        Parameters
        ----------
        atoms : Atoms
            The structure. Its ``info`` and its calculator's results are not written.
        results : dict
            In ASE's units.
        model : str
            Written as the name of the calculator.
        position : int
            Place in the input: the key ``position`` of the row.
        """
        row = AtomsRow({**_structure(atoms), **_results(results, len(atoms)), "calculator": model})
        row.ctime, row.user = now(), os.getenv("USER")
        self._writer.change_count = 0  # ASE commits when it has counted 5,000
        written: int = self._writer._write(row, {"position": position}, {}, None)  # noqa: SLF001
        self.count += 1
        return written


def _structure(atoms: Atoms) -> dict[str, Any]:
    columns: dict[str, Any] = {
        # rising, so that the index of ids grows at its end: each page is written once
        "unique_id": f"{time.time_ns():016x}{uuid4().hex[:16]}",
        "numbers": np.asarray(atoms.numbers, np.int64),
        "positions": np.asarray(atoms.positions, np.float64),
        "cell": atoms.cell.array,
        "pbc": atoms.pbc,
        "calculator_parameters": {},
    }
    for name, rest in _INPUTS.items():
        array = _double(atoms.arrays.get(name), (len(atoms), *rest))
        if array is not None:
            columns[name] = array
    if "tags" in atoms.arrays:
        columns["tags"] = np.asarray(atoms.arrays["tags"], np.int64)
    if atoms.constraints:
        columns["constraints"] = constraint_documents(atoms)
    return columns


def _results(results: Results, natoms: int) -> dict[str, Any]:
    stress = results.get("stress")
    if stress is not None and np.shape(stress) == (3, 3):
        stress = full_3x3_to_voigt_6_stress(np.asarray(stress, np.float64))
    columns = {name: _double(results.get(name), ()) for name in _NUMBERS}
    columns |= {n: _double(results.get(n), (natoms, *rest)) for n, rest in _PER_ATOM.items()}
    columns |= {"stress": _double(stress, (6,)), "dipole": _double(results.get("dipole"), (3,))}
    return {name: value for name, value in columns.items() if value is not None}


def _double(value: Any, shape: tuple[int, ...]) -> Optional[Any]:
    """Return a value in double precision; None if it is not there or has another shape."""
    array = np.asarray(value)
    if value is None or array.dtype.kind not in "biuf":
        return None
    if array.shape == (1,) and not shape:
        array = array[0]
    return np.asarray(array, np.float64)[()] if array.shape == shape else None
