"""The text about a store that ``results`` and ``merge`` print."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluation.store_reader import ModelSummary, StoreSummary

__all__ = ["store_text"]

_WIDTH = 80


def store_text(store: StoreSummary) -> str:
    """Return a few lines: models, counts, errors by type, what is missing, times."""
    lines = [line for model in store.models for line in _model(model)] or ["no results yet"]
    if store.began is not None and store.ended is not None:
        lines.append(f"from {_local(store.began)} to {_local(store.ended)}")
    if store.ase_rows:
        lines.append(f"{store.ase_rows:,} rows of an ASE database: ase db {store.path}")
    return "\n".join([store.path, *(f"  {line}" for line in lines)])


def _local(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _model(model: ModelSummary) -> list[str]:
    settings = model.settings
    extra = [f"properties {', '.join(settings['properties'])}"] if settings["properties"] else []
    extra += ["exact"] if settings["exact"] else []
    lines = [", ".join([f"{model.model} (identity {model.identity[:12]})", *extra])]
    different = model.results + model.errors
    counts = f"{model.positions:,} structures"
    if different != model.positions:
        counts += f", {different:,} of them different"
    lines.append(f"  {counts}: {model.results:,} with results, {model.errors:,} with an error")
    if model.kinds:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in model.kinds.items())
        lines += _wrapped(f"errors: {kinds}")
    return lines + _gaps(model)


def _gaps(model: ModelSummary) -> list[str]:
    """Say what is missing, as far as that is known."""
    from ..evaluation.store_reader import ranges_text

    if not model.shards:
        return ["  no run came to the end of its input, so more may be missing"]
    lines = []
    if model.missing_shards:
        count = model.shards[0][1]
        missing, numbers = ranges_text(model.missing_shards)
        text = f"shard {numbers} of {count} is missing" if missing == 1 else ""
        lines += _wrapped(text or f"shards {numbers} of {count} are missing")
    if model.missing:
        has = "structure has" if model.missing == 1 else "structures have"
        lines += _wrapped(f"{model.missing:,} {has} no outcome yet: {model.missing_places}")
    return lines or ["  complete"]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH - 2, initial_indent="  ", subsequent_indent="    ")
