"""The SQLite file of a store: opening, locking, transactions, and errors that say what to do.

A writer holds SQLite's exclusive lock for as long as the file is open; the kernel releases it when
the process ends, however it ends. With that lock the write-ahead log needs no shared memory, so the
file may lie on a network file system. Closing ends the log: what remains is one file that any
SQLite program reads, also in a folder that can't be written.
"""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import ConfigurationError, OutputError, RootstockError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["FORMAT", "Database"]

#: Version of the tables, ``PRAGMA user_version``.
FORMAT = 1
#: ``PRAGMA application_id`` of our files: "root" in ASCII.
_APPLICATION = 0x726F6F74
#: Seconds to wait for another process that is about to close the file.
_BUSY = 1.0
#: SQLite takes a shorter file for an empty database and would write over it.
_SMALLEST = 512
#: Pages in memory, in KiB: the index of keys is read and written in random order.
_CACHE = 20_000
#: Pages of the write-ahead log (64 MiB) before they are copied into the file: the disk is slow.
_LOG = 16_000
#: What SQLite says, and what that means; the first match counts.
_REASONS = (
    ("readonly", "permission denied: the file, or its file system, can only be read"),
    ("full", "the disk is full: free some space"),
    ("disk I/O error", "the disk reports an error, or a quota is used up"),
    ("locking protocol", "its file system has no file locks: use a file on another one"),
)

_TABLES = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE models (identity TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE provenance (id INTEGER PRIMARY KEY, document TEXT NOT NULL UNIQUE);
CREATE TABLE results (
    key BLOB PRIMARY KEY, identity TEXT NOT NULL, status TEXT NOT NULL, payload BLOB NOT NULL,
    structure BLOB NOT NULL, provenance INTEGER, finished REAL NOT NULL, row INTEGER);
CREATE TABLE inputs (
    position INTEGER, identity TEXT, key BLOB NOT NULL, structure BLOB, file TEXT, frame INTEGER,
    PRIMARY KEY (position, identity)) WITHOUT ROWID;
CREATE TABLE shards (
    identity TEXT, number INTEGER, count INTEGER, structures INTEGER NOT NULL,
    PRIMARY KEY (identity, number, count)) WITHOUT ROWID;
"""


class Database:
    """The file of a store; a context manager that closes it.

    Parameters
    ----------
    path : Path
        The file.
    write : bool
        Whether to write: makes the file if there is none, and locks it. A file that a killed writer
        left is set in order in either case.

    Raises
    ------
    ConfigurationError
        The file is no store, or a newer version of Rootstock made it.
    OutputError
        It can't be read or written, or another process writes to it.
    """

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        self._connection: Any = None
        self._writes = write
        if path.is_file() and 0 < path.stat().st_size < _SMALLEST:
            raise self._foreign()
        if not write:
            if not path.exists():
                msg = f"there is no store {path}: check the path"
                raise ConfigurationError(msg)
            if any(path.with_name(path.name + end).exists() for end in ("-wal", "-journal")):
                Database(path, write=True).close()
        with self.explaining():
            self._open_to_write() if write else self._open_to_read()

    def __enter__(self) -> Self:
        """Return the database itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the file."""
        self.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection."""
        if self._connection is None:
            msg = f"{self.path} is closed"
            raise OutputError(msg)
        connection: sqlite3.Connection = self._connection
        return connection

    def _open_to_read(self) -> None:
        uri = f"file:{quote(str(self.path.absolute()))}?mode=ro"
        self._connection = sqlite3.connect(uri, timeout=_BUSY, isolation_level=None, uri=True)
        try:
            self._check()
        except BaseException:
            self._connection.close()
            raise

    def _open_to_write(self) -> None:
        self._connection = sqlite3.connect(
            self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            self.execute("PRAGMA locking_mode = EXCLUSIVE")
            self.execute("BEGIN EXCLUSIVE")  # of two processes one comes further, even at once
            tables = self._check()
            if not tables:
                for statement in _TABLES.split(";"):
                    self.execute(statement)
                self.execute(f"PRAGMA application_id = {_APPLICATION}")
                self.execute(f"PRAGMA user_version = {FORMAT}")
            self.execute("COMMIT")
            self.execute("PRAGMA journal_mode = WAL")
            self.execute("PRAGMA synchronous = NORMAL")
            self.execute(f"PRAGMA cache_size = -{_CACHE}")
            self.execute(f"PRAGMA wal_autocheckpoint = {_LOG}")
        except BaseException:
            self._connection.close()
            raise

    def _check(self) -> int:
        """Return the number of tables; raise if they are not ours."""
        (tables,) = self.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = self.execute("PRAGMA application_id").fetchone()
        (version,) = self.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION and (tables or not self._writes):
            raise self._foreign()
        if version > FORMAT:
            msg = (
                f"{self.path} was made by a newer version of Rootstock (format {version}; this "
                f"version reads {FORMAT}): update Rootstock"
            )
            raise ConfigurationError(msg)
        return int(tables)

    def execute(self, statement: str, values: Iterable[Any] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        return self.connection.execute(statement, tuple(values))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block writes, or none of it."""
        with self.explaining():
            self.execute("BEGIN")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                    self.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def explaining(self) -> Iterator[None]:
        """Raise SQLite's errors as our own."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(str(error)) from error

    def _foreign(self) -> ConfigurationError:
        msg = f"{self.path} is another program's file, not a store of results: choose another name"
        return ConfigurationError(msg)

    def _explained(self, text: str) -> RootstockError:
        if "not a database" in text:
            return self._foreign()
        if "is locked" in text:
            msg = f"another process is writing to {self.path}: wait for its end, or name another"
            return OutputError(f"{msg} file")
        reason = next((reason for part, reason in _REASONS if part in text), text)
        if "unable to open" in text:
            reason = "permission denied"
            if self.path.is_dir():
                reason = "it is a folder"
            elif not self.path.parent.is_dir():
                reason = "the folder does not exist"
        elif not self.path.exists():
            reason = "the file was removed or renamed"
        elif "malformed" in text:
            reason = "the file is damaged; restore a copy, or begin a new one"
        verb = "written" if self._writes else "read"
        msg = f"{self.path} can't be {verb}: {reason}"
        if self._writes and self.path.is_file():
            msg += ". Results that were reported before stay in it"
        return OutputError(msg)

    def close(self) -> None:
        """Close the file; more than once does nothing."""
        if self._connection is None:
            return
        try:
            if self._writes:
                with self.explaining():
                    self.execute("PRAGMA journal_mode = DELETE")
        finally:
            self._connection.close()
            self._connection = None
