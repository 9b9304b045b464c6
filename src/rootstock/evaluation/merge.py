"""Merging stores: shards, or results of several models, into one file."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Optional

from ..errors import ConfigurationError
from .frames import Frame
from .store import Store
from .store_reader import StoreReader
from .store_rows import OK, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .store_reader import StoreSummary

__all__ = ["Merged", "merge"]

#: Rows of a transaction.
_ROWS = 500


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge.

    Attributes
    ----------
    files : int
        Stores that were read.
    added, known : int
        Outcomes that were added, and those that were there already.
    summary : StoreSummary
        What the target holds now.
    """

    files: int
    added: int
    known: int
    summary: StoreSummary


def merge(
    target: Path,
    sources: Sequence[Path],
    *,
    allow_other_models: bool = False,
    ase_rows: Optional[bool] = None,
) -> Merged:
    """Add the outcomes of stores to another one; what it has already stays.

    Results replace errors. All files are checked before the target is made or changed.

    Parameters
    ----------
    target : Path
        Is made if it does not exist.
    sources : sequence of Path
        Stores; they are only read.
    allow_other_models : bool
        Whether results of different models may be in the target.
    ase_rows : bool, optional
        Whether rows of an ASE database are written; by default as in the target, and in a new file
        for up to 100,000 results.

    Raises
    ------
    ConfigurationError
        A file is no store, the models or their settings differ, or two files have different
        structures at the same place of the input.
    OutputError
        A file can't be read or written, or another process writes to it.
    """
    with ExitStack() as stack:
        readers = [stack.enter_context(StoreReader(path)) for path in _checked(target, sources)]
        _check_models(target, readers, allow_other_models=allow_other_models)
        _check_places(target, readers)
        size = sum(next(r.rows("SELECT count(*) FROM results"))[0] for r in readers)
        store = stack.enter_context(Store(target, ase_rows=ase_rows, structures=size))
        merging = _Merge(store)
        for reader in readers:
            merging.add(reader, further=allow_other_models)
    with StoreReader(target) as reader:
        return Merged(len(readers), merging.added, merging.known, reader.summary())


def _checked(target: Path, sources: Sequence[Path]) -> Sequence[Path]:
    if target.suffix != ".db":
        msg = f"the store {target} must end with .db"
        raise ConfigurationError(msg)
    if not sources:
        msg = f"there is nothing to merge into {target}: name stores, such as results-*of16.db"
        raise ConfigurationError(msg)
    for path in sources:
        if path.exists() and target.exists() and path.samefile(target):
            msg = f"{path} can't be merged into itself: name the target first, then the others"
            raise ConfigurationError(msg)
    return sources


def _check_models(target: Path, readers: list[StoreReader], *, allow_other_models: bool) -> None:
    """Refuse other models and settings before anything is written."""
    seen: dict[str, tuple[Path, dict[str, Any]]] = {}
    if target.exists():
        with StoreReader(target) as reader:
            seen = {i: (target, document) for i, document in reader.models().items()}
    for reader in readers:
        for identity, document in reader.models().items():
            for other, (path, before) in seen.items():
                names = f"{reader.path} and {path}"
                if other == identity and before["settings"] != document["settings"]:
                    msg = (
                        f"{names} were made with different settings: {document['settings']} and "
                        f"{before['settings']}. Merge them into different files"
                    )
                    raise ConfigurationError(msg)
                if other != identity and not allow_other_models:
                    msg = (
                        f"{names} hold results of different models: {document['model']} "
                        f"({identity[:12]}) and {before['model']} ({other[:12]}). Merge them into "
                        "different files, or allow it: --allow-other-models"
                    )
                    raise ConfigurationError(msg)
            seen[identity] = (reader.path, document)


def _check_places(target: Path, readers: list[StoreReader]) -> None:
    """Refuse different structures at one place: these are results of different inputs."""
    query = "SELECT position, identity, key FROM inputs"
    with ExitStack() as stack:
        all_readers = list(readers)
        if target.exists():
            all_readers.insert(0, stack.enter_context(StoreReader(target)))
        places = stack.enter_context(closing(sqlite3.connect("")))  # a temporary file: no memory
        places.execute("CREATE TABLE p (place, identity, key, PRIMARY KEY (place, identity))")
        for reader in all_readers:
            for position, identity, key in reader.rows(query):
                values = (position, identity, key)
                if places.execute("INSERT OR IGNORE INTO p VALUES (?, ?, ?)", values).rowcount:
                    continue
                find = "SELECT key FROM p WHERE place = ? AND identity = ?"
                if places.execute(find, values[:2]).fetchone()[0] != key:
                    msg = (
                        f"structure {position} of {reader.path} is another one than in the files "
                        "before: these are results of different inputs. Merge them into different "
                        "files"
                    )
                    raise ConfigurationError(msg)


class _Merge:
    """Copies rows into a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.added = self.known = 0

    def add(self, reader: StoreReader, *, further: bool) -> None:
        """Copy a store."""
        for identity, document in reader.models().items():
            self._store.use_model(identity, document, further=further)
        reader.database.execute(
            "CREATE TEMP TABLE places AS SELECT key, min(position) AS place FROM inputs GROUP BY 1"
        )
        reader.database.execute("CREATE UNIQUE INDEX temp.places_key ON places (key)")
        results = reader.rows(
            "SELECT r.key, r.identity, status, payload, structure, finished, document, place "
            "FROM results AS r LEFT JOIN provenance ON provenance.id = r.provenance "
            "LEFT JOIN places ON places.key = r.key ORDER BY r.rowid"
        )
        for rows in _chunks(results):
            with self._store.transaction():
                for *values, document, place in rows:
                    self._add_result(Result(*values), document, place or 0)
        self._add_inputs(reader)

    def _add_result(self, result: Result, provenance: Optional[str], position: int) -> None:
        before = self._store.status(result.key)
        if before is None or (before != OK and result.status == OK):
            self._store.copy(result, provenance, position)
            self.added += 1
        else:
            self.known += 1

    def _add_inputs(self, reader: StoreReader) -> None:
        inputs = reader.rows(
            "SELECT position, i.identity, i.key, coalesce(i.structure, r.structure), file, "
            "frame "
            "FROM inputs AS i JOIN results AS r ON r.key = i.key"
        )
        for rows in _chunks(inputs):
            with self._store.transaction():
                for position, identity, key, structure, file, number in rows:
                    frame = Frame(file, number) if file else None
                    self._store.insert_input(position, identity, key, structure, frame)
        for identity, *shard in reader.rows("SELECT * FROM shards"):
            self._store.note_shard(identity, *shard)


def _chunks(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    while chunk := list(islice(rows, _ROWS)):
        yield chunk
