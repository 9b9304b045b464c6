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

import json
import time
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Optional

from .._version import __version__
from ..errors import ConfigurationError, OutputError, RootstockError
from ..runtime.provenance import Provenance
from .ase_rows import AseRows, has_ase_rows
from .database import Database
from .records import pack_atoms, pack_outcome, unpack_outcome

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from typing_extensions import Self

    from .engine import Completed
    from .evaluator import Outcome
    from .frames import Frame

__all__ = ["MOST_ROWS", "OK", "Store", "Stored", "provenance_text", "stored"]

#: More results are not written as rows of an ASE database by default: it gets slow and large.
MOST_ROWS = 100_000
#: Status of results; that of an error is its class.
OK = "ok"
#: Provenance objects whose id is remembered.
_REMEMBERED = 64


@dataclass(frozen=True)
class Stored:
    """A stored outcome.

    Attributes
    ----------
    status : str
        ``"ok"`` or the class of the error.
    outcome : dict or RootstockError
        Results in ASE's units, in the model's dtypes, or the error.
    provenance : Provenance or Any
        How it was evaluated.
    """

    status: str
    outcome: Outcome
    provenance: Any


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
        for other in models.values() if further else list(filter(None, [models.get(identity)])):
            self._check_settings(other["settings"], document["settings"])
        if identity not in models:
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
        old, new = before.get("fields") or {}, document.get("fields") or {}
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
        return None if row is None else stored(self.path, *row)

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
        is_error = isinstance(outcome, RootstockError)
        status = type(outcome).__name__ if is_error else OK
        structure = pack_atoms(atoms)
        values = (key, identity, status, pack_outcome(outcome), structure)
        try:
            with self.database.transaction():
                query = "SELECT status FROM results WHERE key = ?"
                before = self.database.execute(query, (key,)).fetchone()
                if before is None or before[0] != OK:
                    known = self._provenance_id(completed.provenance)
                    row = self._row(completed, atoms, identity)
                    insert = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
                    self.database.execute(insert, (*values, known, time.time(), row))
                self._insert_input(completed.index, identity, key, structure, frame)
        except BaseException:
            self._provenance.clear()  # their rows may be gone
            raise
        return before is None or before[0] != OK

    def _row(self, completed: Completed, atoms: Atoms, identity: str) -> Optional[int]:
        outcome = completed.outcome
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
        return self._rows.write(atoms, outcome, self._models[identity], completed.index)

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
            with self.database.transaction():
                self._insert_input(position, identity, key, pack_atoms(atoms), frame)

    def _insert_input(
        self, position: int, identity: str, key: bytes, structure: bytes, frame: Optional[Frame]
    ) -> None:
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
            text = provenance_text(provenance)
            insert = "INSERT OR IGNORE INTO provenance (document) VALUES (?)"
            self.database.execute(insert, (text,))
            select = "SELECT id FROM provenance WHERE document = ?"
            (number,) = self.database.execute(select, (text,)).fetchone()
            if len(self._provenance) >= _REMEMBERED:
                self._provenance.clear()
            known = self._provenance[id(provenance)] = (provenance, int(number))
        return known[1]


def provenance_text(provenance: Any) -> str:
    """Return a provenance as JSON."""
    document = provenance.as_dict() if isinstance(provenance, Provenance) else provenance
    return json.dumps(document, sort_keys=True, default=str)


def stored(path: Path, status: str, payload: bytes, document: Optional[str]) -> Stored:
    """Return the outcome of a row; `path` is for errors."""
    try:
        outcome = unpack_outcome(payload)
    except OutputError as error:
        msg = f"{path} is damaged: {error}. Restore a copy, or begin a new store"
        raise OutputError(msg) from error
    return Stored(status, outcome, None if document is None else _provenance(document))


@lru_cache(_REMEMBERED)
def _provenance(text: str) -> Any:
    document = json.loads(text)
    is_ours = isinstance(document, dict) and "identity" in document
    return Provenance.from_dict(document) if is_ours else document
