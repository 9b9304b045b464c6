"""An engine with a store: does what is missing, and keeps outcomes before they are reported."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from ..errors import ConfigurationError
from ..runtime.provenance import Provenance, identify
from .engine import Completed
from .records import pack_atoms
from .store import LOST, OK, Store, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from os import PathLike

    from ase import Atoms

    from ..protocol.data import Structure
    from ..runtime.spec import WorkerSpec
    from .engine import Engine, Entry
    from .frames import Frame

__all__ = [
    "RetryErrors",
    "Shard",
    "StoredEngine",
    "open_store",
    "stored_engine",
    "structure_key",
]

#: More results are not written as rows of an ASE database by default: it gets slow.
_MOST_ROWS = 100_000

#: Which errors are evaluated again: none, deaths and time-outs, or all.
RetryErrors = Union[bool, str]


@dataclass(frozen=True)
class Shard:
    """A share of the input: every `count`-th structure.

    Attributes
    ----------
    number, count : int
        Shard `number` of `count`, from 1.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, value: Any) -> Shard:
        """Return the shard of ``"3/16"`` or ``(3, 16)``.

        Raises
        ------
        ConfigurationError
            It is another text, or there is no such shard.
        """
        if isinstance(value, str) and re.fullmatch(r"\d+/\d+", value):
            number, count = map(int, value.split("/"))
        elif isinstance(value, tuple) and [type(part) for part in value] == [int, int]:
            number, count = value
        else:
            msg = f"shard {value!r} must be two numbers such as 3/16"
            raise ConfigurationError(msg)
        if not 1 <= number <= count:
            msg = f"there is no shard {number}/{count}: shards count from 1 to {count}"
            raise ConfigurationError(msg)
        return cls(number, count)

    def __contains__(self, index: int) -> bool:
        """Return whether a structure belongs to the shard."""
        return index % self.count == self.number - 1

    def path(self, path: Path) -> Path:
        """Return the shard's own file: ``results-3of16.db`` of ``results.db``."""
        return path.with_name(f"{path.stem}-{self.number}of{self.count}{path.suffix}")


def structure_key(identity: str, structure: Structure) -> bytes:
    """Return the SHA-256 of a model's identity and everything that the model may read."""
    digest = hashlib.sha256(identity.encode())
    arrays = {**structure.fixed_inputs.arrays, "": structure.positions, " ": structure.cell}
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"|{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(structure.fixed_inputs.info)
    return digest.digest()


class StoredEngine:
    """Takes outcomes from a store where it has them, and adds the others to it.

    Parameters
    ----------
    engine : Engine
        Evaluates what is missing; closed with this engine.
    store : Store
        The file, which belongs to this model; closed with this engine.
    identity : str
        Digest of the model's identity.
    retry_errors : bool or str
        Which errors are evaluated again: False, True for deaths and time-outs, ``"all"``.
    origin : callable, optional
        Returns the file and frame of a structure.
    """

    def __init__(
        self,
        engine: Engine,
        store: Store,
        identity: str,
        *,
        retry_errors: RetryErrors = False,
        origin: Optional[Callable[[int], Frame]] = None,
    ) -> None:
        self._engine, self._store, self._identity = engine, store, identity
        self._retry_errors = retry_errors
        self._origin = origin
        self._missing: dict[int, tuple[bytes, Atoms]] = {}

    @property
    def provenance(self) -> Any:
        """How results are computed."""
        return self._engine.provenance

    def run(self, entries: Iterable[Entry], *, ordered: bool) -> Generator[Completed, None, None]:
        """Yield the outcomes of entries as they come, each when it is in the store."""
        stream = self._engine.run(self._known(entries), ordered=ordered)
        try:
            for completed in stream:
                missing = self._missing.pop(completed.index, None)
                if missing is not None:
                    frame = self._frame(completed.index)
                    self._store.add(completed, self._identity, *missing, frame)
                yield completed
        finally:
            stream.close()
            self._missing.clear()

    def close(self) -> None:
        """End the workers and close the file."""
        try:
            self._engine.close()
        finally:
            self._store.close()

    def _known(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Replace structures whose outcome is known by it."""
        for entry in entries:
            if entry.source is None:
                yield entry
                continue
            key = self._key(entry)
            stored = self._store.find(key)
            if stored is None or self._is_retried(stored):
                self._missing[entry.index] = (key, entry.source)
                yield entry
            else:
                self._store.note_input(entry.index, self._identity, key, self._frame(entry.index))
                yield _completed(entry.index, stored)

    def _key(self, entry: Entry) -> bytes:
        if not isinstance(entry, Completed):
            return structure_key(self._identity, entry.structure)
        refused = pack_atoms(entry.source)  # a structure that no model may read
        return hashlib.sha256(self._identity.encode() + refused).digest()

    def _is_retried(self, stored: Stored) -> bool:
        if stored.status == OK or not self._retry_errors:
            return False
        return self._retry_errors == "all" or stored.status in LOST

    def _frame(self, index: int) -> Optional[Frame]:
        return None if self._origin is None else self._origin(index)


def open_store(
    store: Union[str, PathLike[str], Store], shard: Optional[Shard], structures: int
) -> Store:
    """Open the file of a store.

    Parameters
    ----------
    store : path-like or Store
        The file, or a store that is open.
    shard : Shard, optional
        The share of the work, which has a file of its own.
    structures : int
        How many structures there are, if that is known: without rows of an ASE database if they
        are many.
    """
    if isinstance(store, Store):
        return store
    path = Path(store)
    return Store(shard.path(path) if shard else path, ase_rows=structures <= _MOST_ROWS)


def stored_engine(
    engine: Engine,
    store: Store,
    spec: Optional[WorkerSpec],
    settings: dict[str, Any],
    retry_errors: RetryErrors,
) -> StoredEngine:
    """Return an engine with a store that belongs to its model.

    Raises
    ------
    ConfigurationError
        The store holds results of another model or with other settings.
    """
    try:
        model = spec.model if spec is not None else type(engine).__name__
        identity = _identity(engine, spec)
        store.adopt(identity, model, settings)
    except BaseException:
        engine.close()
        store.close()
        raise
    return StoredEngine(engine, store, identity, retry_errors=retry_errors)


def _identity(engine: Engine, spec: Optional[WorkerSpec]) -> str:
    """Return the identity of a model; starts a worker only if its weights are not known yet."""
    if spec is not None:
        identity = identify(spec)
        if identity.weights is not None:
            return identity.digest
    provenance = engine.provenance
    if hasattr(provenance, "identity"):
        return str(provenance.identity)
    text = json.dumps(provenance, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _completed(index: int, stored: Stored) -> Completed:
    document = stored.provenance
    provenance: Any = document
    if document is not None and "identity" in document:
        provenance = Provenance.from_dict(document)
    return Completed(index, stored.outcome, provenance, stored=True)
