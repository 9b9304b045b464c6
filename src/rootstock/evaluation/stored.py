"""An engine with a store: does what is missing, and keeps outcomes before they are reported."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from ..errors import CallTimeoutError, ConfigurationError, StartupError
from ..runtime.provenance import identify
from .engine import Completed
from .records import pack_atoms
from .store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from os import PathLike

    from ase import Atoms

    from ..protocol.data import Structure
    from ..runtime.spec import WorkerSpec
    from .engine import Engine, Entry
    from .frames import Frame
    from .store_rows import Stored

__all__ = [
    "Campaign",
    "RetryErrors",
    "Shard",
    "StoreOptions",
    "StoredEngine",
    "store_options",
    "structure_key",
]

#: Which errors are evaluated again: none, those of lost workers and time-outs, or all.
RetryErrors = Union[bool, str]
#: Errors that may have nothing to do with the structure; WorkerDiedError is a StartupError.
_LOST = (CallTimeoutError, StartupError)


@dataclass(frozen=True)
class Shard:
    """A share of the input: every `count`-th structure.

    Attributes
    ----------
    number, count : int
        Shard `number` of `count`, from 1.
    """

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, value: Any) -> Shard:
        """Return the shard of ``"3/16"`` or ``(3, 16)``.

        Raises
        ------
        ConfigurationError
            It is another text, or there is no such shard.
        """
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", value):
            number, count = map(int, value.split("/"))
        elif isinstance(value, tuple) and [type(part) for part in value] == [int, int]:
            number, count = value
        else:
            msg = f"shard {value!r} must be two numbers such as 3/16: the third of 16 shards"
            raise ConfigurationError(msg)
        if not 1 <= number <= count:
            last = f"the last one is {count}/{count}" if count > 0 else "there is at least one"
            msg = f"there is no shard {number}/{count}: shards count from 1, and {last}"
            raise ConfigurationError(msg)
        return cls(number, count)

    def __contains__(self, index: int) -> bool:
        """Return whether a structure belongs to the shard."""
        return index % self.count == self.number - 1

    def size(self, structures: int) -> int:
        """Return how many of so many structures belong to the shard."""
        return len(self.positions(structures))

    def positions(self, structures: int) -> range:
        """Return which of so many structures belong to the shard."""
        return range(self.number - 1, structures, self.count)

    def places(self, size: int) -> range:
        """Return the positions of the first `size` structures of the shard."""
        return range(self.number - 1, self.number - 1 + size * self.count, self.count)

    def path(self, path: Path) -> Path:
        """Return the shard's own file: ``results-3of16.db`` of ``results.db``."""
        return path.with_name(f"{path.stem}-{self.number}of{self.count}{path.suffix}")


@dataclass(frozen=True)
class StoreOptions:
    """A store, and how it is used.

    Attributes
    ----------
    path : path-like
        The file, which ends with ``.db``.
    ase_rows : bool or None
        Whether results are also written as rows of an ASE database; None leaves them out if there
        are more than 100,000 structures.
    retry_errors : bool or str
        Which errors are evaluated again: False, True for those of lost workers and time-outs,
        ``"all"``.
    origin : callable or None
        Returns the file and frame of a structure.
    """

    path: Union[str, PathLike[str]]
    ase_rows: Optional[bool] = None
    retry_errors: RetryErrors = False
    origin: Optional[Callable[[int], Frame]] = None


def store_options(
    store: Union[str, PathLike[str], StoreOptions, None],
    retry_errors: RetryErrors,
) -> Optional[StoreOptions]:
    """Check and complete what :func:`rootstock.evaluate` was given.

    Raises
    ------
    ConfigurationError
        An option is invalid, or does nothing without a store.
    """
    if retry_errors not in (False, True, "all"):
        msg = f"retry_errors={retry_errors!r} must be False, True or 'all'"
        raise ConfigurationError(msg)
    if store is None:
        if retry_errors:
            msg = "retry_errors needs a store with errors: give store='NAME.db'"
            raise ConfigurationError(msg)
        return None
    options = store if isinstance(store, StoreOptions) else StoreOptions(store)
    path = Path(options.path)
    if path.suffix != ".db":
        msg = f"the store {path} must end with .db"
        raise ConfigurationError(msg)
    return StoreOptions(
        path, options.ase_rows, retry_errors or options.retry_errors, options.origin
    )


@dataclass(frozen=True)
class Campaign:
    """What is evaluated.

    Attributes
    ----------
    spec : WorkerSpec or None
        The model; None for an evaluator, which is known by its provenance.
    settings : dict
        What results depend on beside the model: properties, exact.
    shard : Shard or None
        The share of the structures.
    structures : int or None
        How many structures there are in all shards, if that is known.
    """

    spec: Optional[WorkerSpec]
    settings: dict[str, Any]
    shard: Optional[Shard] = None
    structures: Optional[int] = None

    @property
    def size(self) -> Optional[int]:
        """How many structures the shard has, if that is known."""
        return None if self.structures is None else (self.shard or Shard()).size(self.structures)


def structure_key(identity: str, structure: Structure) -> bytes:
    """Return the SHA-256 of a model's identity and everything that the model may read."""
    digest = hashlib.sha256(identity.encode())
    arrays = sorted(structure.fixed_inputs.arrays.items())
    for name, array in [*arrays, ("", structure.positions), ("", structure.cell)]:
        digest.update(f"|{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(structure.fixed_inputs.info)
    return digest.digest()


class StoredEngine:
    """Takes outcomes from a store where it has them, and adds the others to it.

    The file is open while :meth:`run` runs.

    Parameters
    ----------
    engine : Engine
        Evaluates what is missing; closed with this engine.
    options : StoreOptions
        The store, as :func:`store_options` returns it.
    campaign : Campaign
        What is evaluated.
    """

    def __init__(self, engine: Engine, options: StoreOptions, campaign: Campaign) -> None:
        self._engine, self._options, self._campaign = engine, options, campaign

    @property
    def provenance(self) -> Any:
        """How results are computed."""
        return self._engine.provenance

    def close(self) -> None:
        """End the workers."""
        self._engine.close()

    def run(self, entries: Iterable[Entry], *, ordered: bool) -> Generator[Completed, None, None]:
        """Yield the outcomes of entries as they come, each when it is in the store.

        Raises
        ------
        ConfigurationError
            The store holds results of another model or with other settings.
        OutputError
            It can't be written, or another process writes to it.
        """
        path, campaign = Path(self._options.path), self._campaign
        path = path if campaign.shard is None else campaign.shard.path(path)
        size = campaign.size
        with Store(path, ase_rows=self._options.ase_rows, structures=size) as store:
            identity = self._use_model(store)
            run = _Run(store, identity, self._options, campaign.shard or Shard())
            if size is not None:
                run.note_size(size)
            stream = self._engine.run(run.entries(entries), ordered=ordered)
            try:
                for completed in stream:
                    yield run.kept(completed)
            finally:
                stream.close()

    def _use_model(self, store: Store) -> str:
        """Return the model's identity; start a worker only if weights are not known before."""
        spec, settings = self._campaign.spec, self._campaign.settings
        known = None if spec is None else identify(spec)
        model = "" if spec is None else spec.model
        if known is not None and known.weights is not None:
            identity = known.digest
        else:
            provenance = self._engine.provenance
            identity = getattr(provenance, "identity", "") or _digest(provenance)
            model = model or _model_of(provenance) or type(self._engine).__name__
        fields = None if known is None else asdict(known)
        document = {"model": model, "fields": fields, "settings": settings}
        store.use_model(identity, document)
        return identity


def _model_of(provenance: Any) -> str:
    """Return the model that an evaluator names in its provenance."""
    if isinstance(provenance, dict):
        return str(provenance.get("model", ""))
    return str(getattr(provenance, "model", ""))


def _digest(provenance: Any) -> str:
    text = json.dumps(provenance, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class _Run:
    """One pass over structures."""

    def __init__(self, store: Store, identity: str, options: StoreOptions, shard: Shard) -> None:
        self._store, self._identity, self._shard = store, identity, shard
        self._retry_errors, self._origin = options.retry_errors, options.origin
        self._missing: dict[int, tuple[bytes, Atoms]] = {}

    def note_size(self, structures: int) -> None:
        """Remember the number of structures."""
        shard = self._shard
        self._store.note_shard(self._identity, shard.number, shard.count, structures)

    def entries(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Replace structures whose outcome is known by it."""
        count = 0
        for count, entry in enumerate(entries, 1):  # noqa: B007  used after the loop
            if entry.source is None:
                yield entry
                continue
            key = self._key(entry, entry.source)
            stored = self._store.find(key)
            if stored is None or self._is_retried(stored):
                self._missing[entry.index] = (key, entry.source)
                yield entry
            else:
                frame = self._frame(entry.index)
                self._store.note_input(entry.index, self._identity, key, entry.source, frame)
                yield _completed(entry.index, stored)
        self.note_size(count)

    def kept(self, completed: Completed) -> Completed:
        """Return an outcome when it is in the store: that of an equal structure before, if any."""
        key, source = self._missing.pop(completed.index, (None, None))
        if key is None or source is None:
            return completed
        frame = self._frame(completed.index)
        if self._store.add(completed, self._identity, key, source, frame):
            return completed
        stored = self._store.find(key)
        return completed if stored is None else _completed(completed.index, stored)

    def _key(self, entry: Entry, source: Atoms) -> bytes:
        if not isinstance(entry, Completed):
            return structure_key(self._identity, entry.structure)
        refused = pack_atoms(source)  # a structure that no model may read
        return hashlib.sha256(b"refused" + self._identity.encode() + refused).digest()

    def _is_retried(self, stored: Stored) -> bool:
        if self._retry_errors == "all":
            return isinstance(stored.outcome, Exception)
        return bool(self._retry_errors) and isinstance(stored.outcome, _LOST)

    def _frame(self, index: int) -> Optional[Frame]:
        return None if self._origin is None else self._origin(index)


def _completed(index: int, stored: Stored) -> Completed:
    return Completed(index, stored.outcome, stored.provenance, stored=True)
