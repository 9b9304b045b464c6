"""A store: results of many structures in one SQLite file, of which nothing is lost.

Each outcome is one transaction, committed before it is reported. The file belongs to one writer at
a time, whose lock the kernel releases when it ends, however it ends. Locks of SQLite's own, without
shared memory, also work on the file systems of clusters.

Tables::

    models      identity, document                  the model, the properties, how it was evaluated
    provenance  id, document
    results     key, identity, status, payload, structure, provenance, finished, row
    inputs      position, identity, key, file, frame

``key`` is a digest of structure and model. ``row`` is the id of an ASE database's row in the same
file, see :mod:`.ase_rows`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from .._version import __version__
from ..errors import (
    CallTimeoutError,
    ConfigurationError,
    OutputError,
    RootstockError,
    WorkerDiedError,
)
from .ase_rows import AseRows
from .records import pack_atoms, pack_outcome, unpack_outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ase import Atoms
    from typing_extensions import Self

    from .engine import Completed
    from .evaluator import Outcome
    from .frames import Frame

__all__ = ["Store", "Stored"]

#: Version of the tables.
FORMAT = 1
#: ``PRAGMA application_id`` of our files: "root" in ASCII.
_APPLICATION = 0x726F6F74
#: Seconds to wait for another process that is about to close the file.
_BUSY = 1.0
#: Structures that the input has in other places too, or that were there before, which are written
#: to the table of inputs together.
_INPUTS = 1000

_TABLES = """
CREATE TABLE models (identity TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE provenance (id INTEGER PRIMARY KEY, document TEXT NOT NULL UNIQUE);
CREATE TABLE results (
    key BLOB PRIMARY KEY, identity TEXT NOT NULL, status TEXT NOT NULL, payload BLOB NOT NULL,
    structure BLOB NOT NULL, provenance INTEGER, finished REAL NOT NULL, row INTEGER);
CREATE TABLE inputs (
    position INTEGER, identity TEXT, key BLOB NOT NULL, file TEXT, frame INTEGER,
    PRIMARY KEY (position, identity)) WITHOUT ROWID;
"""
#: Status of results; that of an error is its class.
OK = "ok"
#: Errors that may have nothing to do with the structure.
LOST = (WorkerDiedError.__name__, CallTimeoutError.__name__)


@dataclass(frozen=True)
class Stored:
    """A stored outcome.

    Attributes
    ----------
    status : str
        ``"ok"`` or the class of the error.
    outcome : dict or RootstockError
        Results in ASE's units, in the model's dtypes, or the error.
    provenance : dict or None
        How it was evaluated, as JSON data.
    """

    status: str
    outcome: Outcome
    provenance: Optional[dict[str, Any]]


class Store:
    """The file; a context manager that closes it.

    Parameters
    ----------
    path : path-like
        The file, which is made if it does not exist.
    create : bool
        Whether it may be made.
    ase_rows : bool
        Whether results are also written as rows of an ASE database.

    Raises
    ------
    ConfigurationError
        The file is another program's, of a newer version of Rootstock, or in use.
    OutputError
        It can't be read or written.
    """

    def __init__(self, path: Path, *, create: bool = True, ase_rows: bool = True) -> None:
        self.path = Path(path)
        self._is_closed = False
        self._pending: list[tuple[Any, ...]] = []
        self._provenance: Optional[tuple[Any, int]] = None  # of the last outcome, and its id
        if not create and not self.path.exists():
            msg = f"there is no store {self.path}: check the path"
            raise ConfigurationError(msg)
        with self._explaining():
            self.connection = self._open()
        self._rows = None
        if ase_rows:
            with self._explaining():
                self._rows = AseRows(str(self.path), self.connection)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            self._check(application, version, tables)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN EXCLUSIVE")
            if not tables:
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, application: int, version: int, tables: int) -> None:
        if tables and application != _APPLICATION:
            msg = f"{self.path} is a database of another program: choose another file"
            raise ConfigurationError(msg)
        if version > FORMAT:
            msg = (
                f"{self.path} was written by a newer version of Rootstock (format {version}, this "
                f"version reads {FORMAT}): update Rootstock"
            )
            raise ConfigurationError(msg)

    @contextlib.contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> RootstockError:
        text = str(error)
        if "locked" in text:
            msg = f"another process is using {self.path}: wait until it ends, or use another file"
            return ConfigurationError(msg)
        if "not a database" in text:
            msg = f"{self.path} is not a store of results: choose another file"
            return ConfigurationError(msg)
        msg = (
            f"the store {self.path} can't be written or read ({text}): check the disk, its free "
            "space and the permissions. What was reported is in the file"
        )
        return OutputError(msg)

    def close(self) -> None:
        """Close the file; more than once does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with self._explaining():
                self._write_inputs()
                self.connection.execute("PRAGMA journal_mode = DELETE")  # for readers anywhere
        finally:
            self.connection.close()

    def __enter__(self) -> Self:
        """Return the store itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the file."""
        self.close()

    # --- the model ------------------------------------------------------------------------------

    def models(self) -> dict[str, dict[str, Any]]:
        """Return what is known about the models whose results it holds, by identity."""
        with self._explaining():
            rows = self.connection.execute("SELECT identity, document FROM models").fetchall()
        return {identity: json.loads(document) for identity, document in rows}

    def adopt(self, identity: str, model: str, settings: dict[str, Any]) -> None:
        """Say whose results follow.

        Parameters
        ----------
        identity : str
            Digest of the model's identity.
        model : str
            Model string, for messages.
        settings : dict
            What results depend on beside the model: properties, exact.

        Raises
        ------
        ConfigurationError
            The store holds results of another model, or of other settings.
        """
        models = self.models()
        for other, document in models.items():
            if other != identity:
                raise ConfigurationError(self._other_model(identity, model, other, document))
            for name, value in settings.items():
                if document.get(name) != value:
                    msg = (
                        f"{self.path} was made with {name}={document.get(name)!r}, not {value!r}: "
                        "use the same, or another file"
                    )
                    raise ConfigurationError(msg)
        if identity not in models:
            document = {"model": model, "rootstock": __version__, **settings}
            with self._explaining():
                self.connection.execute(
                    "INSERT INTO models VALUES (?, ?)", (identity, json.dumps(document))
                )

    def _other_model(self, identity: str, model: str, other: str, document: dict[str, Any]) -> str:
        is_other = document["model"] != model
        same = "" if is_other else " (another version of it, or other weights or options)"
        return (
            f"{self.path} holds results of {document['model']} (identity {other[:12]}), not of "
            f"{model} (identity {identity[:12]}){same}: use another file"
        )

    # --- results --------------------------------------------------------------------------------

    def status(self, key: bytes) -> Optional[str]:
        """Return the status of a structure; None if it has no outcome yet."""
        with self._explaining():
            row = self.connection.execute(
                "SELECT status FROM results WHERE key = ?", (key,)
            ).fetchone()
        return None if row is None else str(row[0])

    def find(self, key: bytes) -> Optional[Stored]:
        """Return the outcome of a structure; None if it has none yet."""
        with self._explaining():
            row = self.connection.execute(
                "SELECT status, payload, document FROM results LEFT JOIN provenance "
                "ON provenance.id = results.provenance WHERE key = ?",
                (key,),
            ).fetchone()
        if row is None:
            return None
        status, payload, document = row
        provenance = None if document is None else json.loads(document)
        return Stored(status, unpack_outcome(payload), provenance)

    def note_input(
        self, position: int, identity: str, key: bytes, frame: Optional[Frame] = None
    ) -> None:
        """Remember the place of a structure whose outcome is there already."""
        place = (None, None) if frame is None else (frame.file, frame.number)
        self._pending.append((position, identity, key, *place))
        if len(self._pending) >= _INPUTS:
            with self._explaining():
                self._write_inputs()

    def _write_inputs(self) -> None:
        rows, self._pending = self._pending, []
        if not rows:
            return
        with self._transaction():
            insert = "INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?)"
            self.connection.executemany(insert, rows)

    def add(
        self,
        completed: Completed,
        identity: str,
        key: bytes,
        atoms: Atoms,
        frame: Optional[Frame] = None,
    ) -> None:
        """Write an outcome; when this returns, it is committed.

        Parameters
        ----------
        completed : Completed
            The outcome.
        identity : str
            Of the model.
        key : bytes
            Of structure and model.
        atoms : Atoms
            The structure.
        frame : Frame, optional
            Where the structure comes from.
        """
        outcome = completed.outcome
        is_error = isinstance(outcome, RootstockError)
        status = type(outcome).__name__ if is_error else OK
        values = (key, identity, status, pack_outcome(outcome), pack_atoms(atoms))
        place = (None, None) if frame is None else (frame.file, frame.number)
        with self._explaining(), self._transaction():
            known = self._provenance_id(completed.provenance)
            row = None
            if self._rows is not None and not isinstance(outcome, RootstockError):
                row = self._rows.write(atoms, outcome, completed.index)
            self.connection.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, known, time.time(), row),
            )
            self.connection.execute(
                "INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?, ?)",
                (completed.index, identity, key, *place),
            )

    def _provenance_id(self, provenance: Any) -> Optional[int]:
        if provenance is None:
            return None
        if self._provenance is None or self._provenance[0] is not provenance:
            document = provenance.as_dict() if hasattr(provenance, "as_dict") else provenance
            text = json.dumps(document, sort_keys=True, default=str)
            insert = "INSERT OR IGNORE INTO provenance (document) VALUES (?)"
            self.connection.execute(insert, (text,))
            select = "SELECT id FROM provenance WHERE document = ?"
            found = self.connection.execute(select, (text,)).fetchone()[0]
            self._provenance = (provenance, found)
        return self._provenance[1]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self.connection.execute("BEGIN")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            self._provenance = None  # its row may be gone
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                self.connection.execute("ROLLBACK")
            raise
