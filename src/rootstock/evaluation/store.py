"""A store: the results of a campaign in one SQLite file, of which nothing is lost.

Each outcome is one transaction, committed before it is reported. Tables::

    settings    name, value                      ase_rows
    models      identity, document               the model, the properties, how it was evaluated
    provenance  id, document
    results     key, identity, status, payload, structure, provenance, finished, row
    inputs      position, identity, key, structure, file, frame
    shards      identity, number, count, structures

``key`` is a digest of structure and model; ``status`` is ``ok`` or the class of the error;
``payload`` and ``structure`` are :mod:`.records`. A structure that differs from an equal one before
in what no model reads (momenta, constraints) is in ``inputs`` too. ``row`` is the id of an ASE
database's row in the same file, see :mod:`.ase_rows`. ``shards`` has the number of structures that
belong to each shard; without shards that is 1 of 1.
"""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from dataclasses import astuple
from typing import TYPE_CHECKING, Any, Optional

from .._version import __version__
from ..errors import ConfigurationError, RootstockError
from .ase_rows import AseRows, has_ase_rows
from .database import Database
from .records import pack_atoms, pack_outcome, unpack_atoms
from .store_rows import OK, Result, provenance_text, restore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ase import Atoms
    from typing_extensions import Self

    from .engine import Completed
    from .evaluator import Outcome
    from .frames import Frame
    from .store_rows import Stored

__all__ = ["MOST_ROWS", "Store"]

#: More results are not written as rows of an ASE database by default: it gets slow and large.
MOST_ROWS = 100_000
#: Provenance objects whose id is remembered.
_REMEMBERED = 64


class Store:
    """The file, open to write; a context manager that closes it.

    Parameters
    ----------
    path : Path
        The file, which is made if it does not exist.
    ase_rows : bool, optional
        Whether results are also written as rows of an ASE database. By default as before, and in a
        new file those of the first 100,000 structures, unless there are more.
    structures : int, optional
        How many structures there will be, if that is known.

    Raises
    ------
    ConfigurationError
        The file is no store, or of a newer version of Rootstock.
    OutputError
        It can't be read or written, or another process writes to it.
    """

    def __init__(
        self, path: Path, *, ase_rows: Optional[bool] = None, structures: Optional[int] = None
    ) -> None:
        self.path = path
        self.database = Database(path, write=True)
        self._provenance: dict[int, tuple[Any, int]] = {}
        self._models: dict[str, str] = {}
        try:
            with self.database.explaining():
                self._rows, self._most_rows = self._ase_rows(structures, wanted=ase_rows)
        except BaseException:
            self.close()
            raise

    def _ase_rows(
        self, structures: Optional[int], *, wanted: Optional[bool]
    ) -> tuple[Optional[AseRows], Optional[int]]:
        """Return the writer of rows, and how many it may write."""
        if wanted is None:
            found = self.database.execute("SELECT value FROM settings WHERE name = 'ase_rows'")
            value = found.fetchone()
            if value is not None:
                wanted = {"yes": True, "no": False}.get(value[0])
            elif structures is not None and structures > MOST_ROWS:
                wanted = False
        if wanted and not self._is_empty() and not has_ase_rows(self.database):
            msg = (
                f"{self.path} was made without rows of an ASE database, and new ones alone would "
                f"be misleading: rootstock merge NEW.db {self.path.name} --ase-rows writes all"
            )
            raise ConfigurationError(msg)
        value = {True: "yes", False: "no", None: "auto"}[wanted]
        rows = None if wanted is False else AseRows(self.database)
        self.database.execute("INSERT OR REPLACE INTO settings VALUES ('ase_rows', ?)", (value,))
        return rows, None if wanted else MOST_ROWS

    def _is_empty(self) -> bool:
        return self.database.execute("SELECT 1 FROM results LIMIT 1").fetchone() is None

    def close(self) -> None:
        """Close the file; more than once does nothing."""
        self.database.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the file."""
        self.close()

    # --- the model ------------------------------------------------------------------------------

    def models(self) -> dict[str, dict[str, Any]]:
        """Return what is known about the models whose results it holds, by identity."""
        with self.database.explaining():
            rows = self.database.execute("SELECT identity, document FROM models").fetchall()
        return {identity: json.loads(document) for identity, document in rows}

    def use_model(self, identity: str, document: dict[str, Any], *, further: bool = False) -> None:
        """Say whose results follow.

        Parameters
        ----------
        identity : str
            Digest of the model's identity.
        document : dict
            The model string as ``"model"``; the fields of its identity, if known, as ``"fields"``;
            and as ``"settings"`` what results depend on beside the model: properties, exact.
        further : bool
            Whether another model's results may be in the store.

        Raises
        ------
        ConfigurationError
            The store holds results of another model, or of other settings.
        """
        models = self.models()
        if identity in models:
            self._check_settings(models[identity]["settings"], document["settings"])
        else:
            if models and not further:
                raise ConfigurationError(self._other_model(identity, document, models))
            document = {"rootstock": __version__, **document}
            with self.database.transaction():
                values = (identity, json.dumps(document))
                self.database.execute("INSERT INTO models VALUES (?, ?)", values)
        self._models[identity] = models.get(identity, document)["model"]

    def _check_settings(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        for name, value in now.items():
            if before.get(name) != value:
                msg = (
                    f"{self.path} was made with {name}={before.get(name)!r}, not with "
                    f"{name}={value!r}: use the same, or name another file"
                )
                raise ConfigurationError(msg)

    def _other_model(self, identity: str, document: dict[str, Any], models: dict[str, Any]) -> str:
        other, before = next(iter(models.items()))
        old = before.get("fields") or {}
        new = json.loads(json.dumps(document.get("fields") or {}))  # tuples become lists
        names = [name for name in old if name in new and old[name] != new[name]]
        differs = f"; {', '.join(names)} differ" if names and old and new else ""
        return (
            f"{self.path} holds results of {before['model']} (identity {other[:12]}), not of "
            f"{document['model']} (identity {identity[:12]}{differs}): name another file, or use "
            "the model that it was made with"
        )

    def note_shard(self, identity: str, number: int, count: int, structures: int) -> None:
        """Remember how many structures of the input belong to a shard."""
        with self.database.transaction():
            self.database.execute(
                "INSERT OR REPLACE INTO shards VALUES (?, ?, ?, ?)",
                (identity, number, count, structures),
            )

    # --- results --------------------------------------------------------------------------------

    def find(self, key: bytes) -> Optional[Stored]:
        """Return the outcome of a structure; None if it has none yet."""
        with self.database.explaining():
            row = self.database.execute(
                "SELECT status, payload, document FROM results LEFT JOIN provenance "
                "ON provenance.id = results.provenance WHERE key = ?",
                (key,),
            ).fetchone()
        return None if row is None else restore(self.path, *row)

    def add(
        self,
        completed: Completed,
        identity: str,
        key: bytes,
        atoms: Atoms,
        frame: Optional[Frame] = None,
    ) -> bool:
        """Write an outcome; when this returns, it is committed.

        Parameters
        ----------
        completed : Completed
            The outcome.
        identity : str
            Of the model, which :meth:`use_model` has named.
        key : bytes
            Of structure and model.
        atoms : Atoms
            The structure.
        frame : Frame, optional
            Where the structure comes from.

        Returns
        -------
        bool
            False if the store has results of an equal structure, which stay.
        """
        outcome = completed.outcome
        status = type(outcome).__name__ if isinstance(outcome, RootstockError) else OK
        structure = pack_atoms(atoms)
        result = Result(key, identity, status, pack_outcome(outcome), structure, time.time())
        with self.transaction():
            is_new = self.status(key) != OK
            if is_new:
                row = self._write_row(result, outcome, atoms, completed.index)
                self._insert(result, self._provenance_id(completed.provenance), row)
            self.insert_input(completed.index, identity, key, structure, frame)
        return is_new

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, or none of it."""
        try:
            with self.database.transaction():
                yield
        except BaseException:
            self._provenance.clear()  # their rows may be gone
            raise

    def status(self, key: bytes) -> Optional[str]:
        """Return the status of a structure; None if it has no outcome yet."""
        query = "SELECT status FROM results WHERE key = ?"
        row = self.database.execute(query, (key,)).fetchone()
        return None if row is None else str(row[0])

    def copy(self, result: Result, provenance: Optional[str], position: int) -> None:
        """Write an outcome of another store, within a transaction.

        Parameters
        ----------
        result : Result
            The outcome.
        provenance : str, optional
            How it was evaluated, as JSON.
        position : int
            Place in the input.
        """
        row = None
        if self._rows is not None and result.status == OK:
            outcome = restore(self.path, result.status, result.payload, None).outcome
            row = self._write_row(result, outcome, unpack_atoms(result.structure), position)
        known = None if provenance is None else self._provenance_row(provenance)
        self._insert(result, known, row)

    def _insert(self, result: Result, provenance: Optional[int], row: Optional[int]) -> None:
        *values, finished = astuple(result)
        self.database.execute(
            "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, provenance, finished, row),
        )

    def _write_row(
        self, result: Result, outcome: Outcome, atoms: Atoms, position: int
    ) -> Optional[int]:
        """Write a row of an ASE database, unless there are enough; return its id."""
        if self._rows is None or isinstance(outcome, RootstockError):
            return None
        if self._most_rows is not None and self._rows.count >= self._most_rows:
            warnings.warn(
                f"{self.path} has rows of an ASE database for the first {self._most_rows} results "
                "only; ase_rows=True (--ase-rows) writes all of them",
                RuntimeWarning,
                stacklevel=2,
            )
            self._rows = None
            return None
        return self._rows.write(atoms, outcome, self._models[result.identity], position)

    def note_input(
        self,
        position: int,
        identity: str,
        key: bytes,
        atoms: Atoms,
        frame: Optional[Frame] = None,
    ) -> None:
        """Remember the place of a structure whose outcome is there, if that is new."""
        with self.database.explaining():
            query = "SELECT key FROM inputs WHERE position = ? AND identity = ?"
            before = self.database.execute(query, (position, identity)).fetchone()
        if before is None or before[0] != key:
            with self.transaction():
                self.insert_input(position, identity, key, pack_atoms(atoms), frame)

    def insert_input(
        self, position: int, identity: str, key: bytes, structure: bytes, frame: Optional[Frame]
    ) -> None:
        """Write the place of a structure whose outcome is there, within a transaction."""
        place = (None, None) if frame is None else (frame.file, frame.number)
        self.database.execute(
            "INSERT OR REPLACE INTO inputs SELECT ?, ?, key, nullif(?, structure), ?, ? "
            "FROM results WHERE key = ?",
            (position, identity, structure, *place, key),
        )

    def _provenance_id(self, provenance: Any) -> Optional[int]:
        if provenance is None:
            return None
        known = self._provenance.get(id(provenance))
        if known is None:
            if len(self._provenance) >= _REMEMBERED:
                self._provenance.clear()
            number = self._provenance_row(provenance_text(provenance))
            known = self._provenance[id(provenance)] = (provenance, number)
        return known[1]

    def _provenance_row(self, text: str) -> int:
        insert = "INSERT OR IGNORE INTO provenance (document) VALUES (?)"
        self.database.execute(insert, (text,))
        select = "SELECT id FROM provenance WHERE document = ?"
        return int(self.database.execute(select, (text,)).fetchone()[0])
