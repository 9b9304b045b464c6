"""Rows of a store: outcomes as they are written and read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Optional

from ..errors import OutputError
from ..runtime.provenance import Provenance
from .records import unpack_outcome

if TYPE_CHECKING:
    from pathlib import Path

    from .evaluator import Outcome

__all__ = ["OK", "Result", "Stored", "provenance_text", "restore"]

#: Status of results; that of an error is its class.
OK = "ok"


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


@dataclass(frozen=True)
class Result:
    """A row of the table of results.

    Attributes
    ----------
    key : bytes
        Digest of structure and model.
    identity : str
        Of the model.
    status : str
        ``"ok"`` or the class of the error.
    payload, structure : bytes
        Records of the outcome and of the Atoms.
    finished : float
        Seconds since 1970.
    """

    key: bytes
    identity: str
    status: str
    payload: bytes
    structure: bytes
    finished: float


def provenance_text(provenance: Any) -> str:
    """Return a provenance as JSON."""
    document = provenance.as_dict() if isinstance(provenance, Provenance) else provenance
    return json.dumps(document, sort_keys=True, default=str)


def restore(path: Path, status: str, payload: bytes, document: Optional[str]) -> Stored:
    """Return the outcome of a row; `path` is for errors."""
    try:
        outcome = unpack_outcome(payload)
    except OutputError as error:
        msg = f"{path} is damaged: {error}. Restore a copy, or begin a new store"
        raise OutputError(msg) from error
    return Stored(status, outcome, None if document is None else _provenance(document))


@lru_cache(64)
def _provenance(text: str) -> Any:
    document = json.loads(text)
    is_ours = isinstance(document, dict) and "identity" in document
    return Provenance.from_dict(document) if is_ours else document
