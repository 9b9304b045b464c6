"""Reading a store: its evaluations in the order of the input, and a summary."""

from __future__ import annotations

import heapq
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ..errors import ConfigurationError
from .ase_rows import has_ase_rows
from .database import Database
from .frames import Frame
from .records import unpack_atoms
from .result import Evaluation
from .store_rows import OK, restore
from .stored import Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from typing_extensions import Self

__all__ = ["ModelSummary", "StoreReader", "StoreSummary", "ranges_text"]

#: Ranges of missing positions that are listed.
_RANGES = 8


@dataclass(frozen=True)
class ModelSummary:
    """The results of one model.

    Attributes
    ----------
    model, identity : str
        Model string, and digest of its identity.
    settings : dict
        The properties that were asked for, and whether ``exact`` was set.
    positions : int
        Places of the input that have an outcome.
    results, errors : int
        Different structures with results, and with an error.
    kinds : dict of str to int
        How many errors of each class there are.
    shards : tuple of (int, int)
        Shards that are there: number and count; 1 of 1 without shards. Empty if no run came to the
        end of an input of unknown length.
    missing_shards : tuple of int
        Numbers of those that are not.
    missing : int
        Structures without an outcome in the shards that are there.
    missing_places : str
        The first of them: ``"17, 20-39"``.
    """

    model: str
    identity: str
    settings: dict[str, Any]
    positions: int
    results: int
    errors: int
    kinds: dict[str, int]
    shards: tuple[tuple[int, int], ...]
    missing_shards: tuple[int, ...]
    missing: int
    missing_places: str


@dataclass(frozen=True)
class StoreSummary:
    """What a store holds.

    Attributes
    ----------
    path : str
        The file.
    models : tuple of ModelSummary
        Usually one.
    began, ended : float or None
        When the first and the last of the outcomes were written, in seconds since 1970.
    ase_rows : int
        Rows of an ASE database.
    """

    path: str
    models: tuple[ModelSummary, ...]
    began: Optional[float]
    ended: Optional[float]
    ase_rows: int


class StoreReader:
    """A store, open to read; a context manager that closes it.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ConfigurationError
        The file is missing or no store.
    OutputError
        It can't be read, or another process writes to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = Database(path, write=False)

    def __enter__(self) -> Self:
        """Return the reader itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close the file."""
        self.database.close()

    def models(self) -> dict[str, dict[str, Any]]:
        """Return what is known about the models, by identity."""
        rows = self.rows("SELECT identity, document FROM models ORDER BY rowid")
        return {identity: json.loads(document) for identity, document in rows}

    def rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query."""
        with self.database.explaining():
            yield from self.database.execute(query, values)

    def find_model(self, name: Optional[str] = None) -> str:
        """Return the identity of a model by its name or the beginning of its identity.

        Raises
        ------
        ConfigurationError
            There is none of that name, or more than one.
        """
        models = self.models()
        found = [
            identity
            for identity, document in models.items()
            if name is None or document["model"] == name or identity.startswith(name)
        ]
        if len(found) == 1:
            return found[0]
        known = ", ".join(f"{d['model']} ({i[:12]})" for i, d in models.items()) or "none"
        wanted = "results" if name is None else f"results of {name}"
        count = "several models'" if found else "no"
        msg = f"{self.path} holds {count} {wanted}; its models are: {known}"
        raise ConfigurationError(msg + ". Name one with --model" if models else msg)

    def evaluations(self, identity: str) -> Iterator[tuple[Evaluation, Frame]]:
        """Yield the evaluations of a model in the order of the input, and where they come from."""
        query = (
            "SELECT position, file, frame, coalesce(inputs.structure, results.structure), status, "
            "payload, document FROM inputs JOIN results ON results.key = inputs.key "
            "LEFT JOIN provenance ON provenance.id = results.provenance "
            "WHERE inputs.identity = ? ORDER BY position"
        )
        for position, file, frame, structure, *outcome in self.rows(query, identity):
            found = restore(self.path, *outcome)
            source = unpack_atoms(structure)
            evaluation = Evaluation(position, source, found.outcome, found.provenance, stored=True)
            yield evaluation, Frame(file or "", position if frame is None else frame)

    def summary(self) -> StoreSummary:
        """Return what the store holds."""
        ((began, ended),) = self.rows("SELECT min(finished), max(finished) FROM results")
        ase = 0
        if has_ase_rows(self.database):
            ((ase,),) = self.rows("SELECT count(*) FROM systems")
        models = tuple(self._summary(i, document) for i, document in self.models().items())
        return StoreSummary(str(self.path), models, began, ended, ase)

    def _summary(self, identity: str, document: dict[str, Any]) -> ModelSummary:
        query = "SELECT status, count(*) FROM results WHERE identity = ? GROUP BY status"
        kinds = dict(self.rows(query, identity))
        results = kinds.pop(OK, 0)
        ((positions,),) = self.rows("SELECT count(*) FROM inputs WHERE identity = ?", identity)
        shards = dict(self._shards(identity))
        missing, places = ranges_text(self._missing(identity, shards))
        return ModelSummary(
            model=document["model"],
            identity=identity,
            settings=document["settings"],
            positions=positions,
            results=results,
            errors=sum(kinds.values()),
            kinds=dict(sorted(kinds.items(), key=lambda item: -item[1])),
            shards=tuple((shard.number, shard.count) for shard in shards),
            missing_shards=_missing_shards(shards),
            missing=missing,
            missing_places=places,
        )

    def _shards(self, identity: str) -> Iterator[tuple[Shard, int]]:
        """Yield the shards and their sizes; once the whole input was read, only that."""
        query = "SELECT number, count, structures FROM shards WHERE identity = ? ORDER BY 2, 1"
        for number, count, structures in self.rows(query, identity):
            yield Shard(number, count), structures
            if count == 1:
                return

    def _missing(self, identity: str, shards: dict[Shard, int]) -> Iterator[int]:
        """Yield the positions without an outcome, in order."""
        expected = heapq.merge(*(shard.places(size) for shard, size in shards.items()))
        query = "SELECT position FROM inputs WHERE identity = ? ORDER BY position"
        present = (position for (position,) in self.rows(query, identity))
        known = next(present, None)
        for position in expected:
            while known is not None and known < position:
                known = next(present, None)
            if known != position:
                yield position


def _missing_shards(shards: Iterable[Shard]) -> tuple[int, ...]:
    """Return the numbers of the shards that are not there; a store may have one kind of shards."""
    counts = {shard.count for shard in shards}
    if len(counts) != 1:
        return ()
    return tuple(sorted(set(range(1, counts.pop() + 1)) - {shard.number for shard in shards}))


def _ranges(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first and last of consecutive numbers."""
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = number
        elif number != last + 1:
            yield first, last
            first = number
        last = number
    if first is not None and last is not None:
        yield first, last


def ranges_text(numbers: Iterable[int]) -> tuple[int, str]:
    """Return how many rising numbers there are, and the first of them as text."""
    count, shown = 0, []
    for number, (first, last) in enumerate(_ranges(numbers)):
        count += last - first + 1
        if number < _RANGES:
            shown.append(str(first) if first == last else f"{first}-{last}")
        elif number == _RANGES:
            shown.append("...")
    return count, ", ".join(shown)
