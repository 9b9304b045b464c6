"""Recorded verifications: one file for each model, machine and device."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import quote

from ..settings.root import writing
from ..support.files import write_atomically
from .check import Check, outcome

if TYPE_CHECKING:
    from pathlib import Path

    from ..settings.root import Layer, Root

__all__ = ["Verification", "latest", "write_verification"]


@dataclass(frozen=True)
class Verification:
    """All checks of a model on one machine and device.

    Attributes
    ----------
    model, build, device, host, when : str
        Model string, build id, device, machine and time (ISO 8601, UTC).
    checks : tuple of Check
        All checks.
    repeat_noise : dict of str to float
        The largest deviation of each property between evaluations of the same structure: eV/atom
        for energies, ASE's unit for others; 0 where the model repeats bit for bit. Empty if it was
        not measured.
    options : str
        Further arguments of ``setup()`` as canonical JSON.
    recorded : bool
        Whether the root has a record; a model without a root has none.
    """

    model: str
    build: str
    device: str
    host: str
    when: str
    checks: tuple[Check, ...]
    repeat_noise: dict[str, float] = field(default_factory=dict)
    options: str = "{}"
    recorded: bool = True

    @property
    def passed(self) -> bool:
        """Whether no check failed and at least one passed."""
        return any(c.passed for c in self.checks) and not any(c.failed for c in self.checks)


def _folder(layer: Layer, environment: str, argument: str) -> Path:
    return layer.records / "verified" / environment / (quote(argument, safe="") or "default")


def write_verification(
    root: Root, environment: str, argument: str, verification: Verification
) -> None:
    """Record a verification in the writable layer."""
    layer = root.writable
    folder = _folder(layer, environment, argument)
    data = asdict(verification)
    del data["recorded"]
    data["key"] = data.pop("build")  # the fields' names on disk
    data["checks"] = [
        {**entry, "passed": check.passed}
        for entry, check in zip(data["checks"], verification.checks)
    ]
    name = quote(f"{verification.host}-{verification.device}", safe="")
    if verification.options != "{}":
        name += f"-{hashlib.sha256(verification.options.encode()).hexdigest()[:12]}"
    with writing(folder), layer.writable_by_group():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{name}.json", json.dumps(data, indent=2) + "\n")


def latest(root: Root, environment: str, argument: Optional[str] = None) -> list[Verification]:
    """Return the recorded verifications of a model, one for each machine, device and options.

    Parameters
    ----------
    root : Root
        The root.
    environment : str
        Name of the environment.
    argument : str, optional
        The argument ``model`` of ``setup()``; by default all models of the environment.
    """
    verifications = {}
    for layer in reversed(root.layers):
        folder = _folder(layer, environment, argument or "")
        paths = folder.parent.glob("*/*.json") if argument is None else folder.glob("*.json")
        for path in sorted(paths):
            try:
                verification = _parse(json.loads(path.read_bytes()))
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                continue  # written by another version
            verifications[path.parent.name, path.name] = verification
    return list(verifications.values())


def _parse(data: dict[str, Any]) -> Verification:
    """Read a record; those of 0.3 have neither outcomes nor the repeat noise."""
    checks = tuple(
        Check(
            entry["name"],
            entry.get("outcome", outcome(entry["passed"])),
            entry.get("detail", ""),
        )
        for entry in data.pop("checks")
    )
    noise = data.pop("repeat_noise", {})
    return Verification(build=data.pop("key"), checks=checks, repeat_noise=noise, **data)
