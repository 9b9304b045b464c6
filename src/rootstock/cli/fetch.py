"""``rootstock fetch MODEL...``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import typer

from ..errors import ConfigurationError
from .output import ClusterOption, JsonOption, RootOption, complete_models, reporting_errors, show

if TYPE_CHECKING:
    from ..environments.weights import WeightsRecord

__all__ = ["fetch", "options_of"]


@dataclass(frozen=True)
class Fetched:
    """What was fetched.

    Attributes
    ----------
    records : tuple of WeightsRecord
        One for each model.
    licences : dict of str to str
        Of the weights, by model.
    """

    records: tuple[WeightsRecord, ...]
    licences: dict[str, str]

    def renderable(self) -> str:
        """Return a line for each file, and the licence."""
        lines = []
        for record in self.records:
            what = f"{len(record.files)} files" if record.files else "weights ship with the package"
            licence = self.licences[record.model]
            lines.append(f"{record.model}: {what}{f'; licence: {licence}' if licence else ''}")
            lines += [f"  {f.path}  {f.size:,} bytes  {f.sha256[:12]}" for f in record.files]
        return "\n".join(lines)


def options_of(pairs: Optional[list[str]]) -> dict[str, Any]:
    """Turn ``key=value`` into arguments of ``setup()``; values are JSON, or else text."""
    found = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            msg = f"--setup {pair!r} must be key=value, such as task_name=omat"
            raise ConfigurationError(msg)
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found


def fetch(
    models: list[str] = typer.Argument(help="Model strings.", autocompletion=complete_models),
    setup: Optional[list[str]] = typer.Option(None, help="Argument of setup(): key=value."),
    device: str = typer.Option("cpu", help="What to load the model on."),
    root: Optional[Path] = RootOption,
    cluster: Optional[str] = ClusterOption,
    as_json: bool = JsonOption,
) -> None:
    """Download weights where there is a network; needs no GPU. Workers run offline afterwards."""
    with reporting_errors():
        from ..environments.model_strings import resolve
        from ..maintenance.fetch import fetch as fetch_one
        from ..settings.root import find_root

        place = find_root(root, cluster)
        found, licences = [], {}
        resolved = [resolve(text, place) for text in models]  # a typing error costs no download
        for text, (spec, file) in zip(models, resolved):
            options = options_of(setup)
            record = fetch_one(text, root=place.path, device=device, setup_kwargs=options)
            found.append(record)
            licences[record.model] = file.licence(spec.argument)
        show(Fetched(tuple(found), licences), as_json)
