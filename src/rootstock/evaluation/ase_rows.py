"""Rows of an ASE database beside our own tables, in the same file and transaction.

They are copies for ``ase db`` and :func:`ase.db.connect`; our own tables hold everything exactly.
ASE's writer would turn float32 arrays into garbage, and its lock file makes the next writer wait
for ever after a SIGKILL: so arrays are double precision, and rows are written through our
connection, which needs no further lock.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.db.core import now
from ase.db.row import AtomsRow, atoms2dict
from ase.db.sqlite import SQLite3Database

if TYPE_CHECKING:
    import sqlite3

    from ase import Atoms

    from ..protocol.data import Results

__all__ = ["AseRows"]

#: Results that an ASE database has columns for.
_COLUMNS = ("energy", "free_energy", "forces", "stress", "dipole", "magmoms", "magmom", "charges")


class AseRows:
    """Writes rows into the tables of an ASE database.

    Parameters
    ----------
    path : str
        The database's file.
    connection : sqlite3.Connection
        Open; the caller begins and commits transactions.
    """

    def __init__(self, path: str, connection: sqlite3.Connection) -> None:
        self._database = SQLite3Database(path, create_indices=True, use_lock_file=False)
        self._database.connection = connection
        self._database._initialize(connection)  # noqa: SLF001  ASE has no public way

    def write(self, atoms: Atoms, results: Results, position: int) -> int:
        """Write a row; return its id.

        Parameters
        ----------
        atoms : Atoms
            The structure. Its ``info`` is not written.
        results : dict
            In ASE's units.
        position : int
            Place in the input: the key ``position`` of the row.
        """
        # ASE's own way through a calculator compares the structure again for each property
        columns = atoms2dict(atoms)
        columns = {name: _as_double(value) for name, value in columns.items()}
        columns |= {n: _as_double(results[n]) for n in _COLUMNS if n in results}
        row = AtomsRow({**columns, "calculator": "rootstock", "calculator_parameters": {}})
        row.ctime, row.user = now(), os.getenv("USER")
        self._database.change_count = 1  # ASE commits when it has counted 5,000
        written: int = self._database._write(row, {"position": position}, {}, None)  # noqa: SLF001
        return written


def _as_double(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "f":
        return np.asarray(value, np.float64)[()]
    return value
