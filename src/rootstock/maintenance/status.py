"""The state of what is installed and fetched in a root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..conformance.records import latest
from ..environments.build import is_up_to_date
from ..environments.builds import current_build
from ..environments.discovery import available_environments
from ..environments.weights import check, records
from .gc import plan_collection

if TYPE_CHECKING:
    from ..conformance.records import Verification
    from ..environments.discovery import AvailableEnvironment
    from ..environments.environment import Environment
    from ..environments.weights import WeightsRecord
    from ..settings.root import Root

__all__ = ["Health", "status"]


@dataclass(frozen=True)
class Health:
    """One environment, or one model whose weights were fetched.

    Attributes
    ----------
    name : str
        Environment or model string.
    state : str
        ``"ready"``, ``"stale"``, ``"not built"``, ``"broken"``, ``"fetched"``, ``"damaged"`` or
        ``"checks failed"``.
    detail : str
        When and where it was built or fetched and verified, or the problem.
    fix : str
        The command that fixes it; empty if it is healthy.
    """

    name: str
    state: str
    detail: str = ""
    fix: str = ""


def status(root: Root, *, deep: bool = False) -> list[Health]:
    """Return the state of every installed environment and fetched model.

    Parameters
    ----------
    root : Root
        The root.
    deep : bool
        Compare the contents of weights, not only their sizes.
    """
    report = [
        _environment_health(entry, root)
        for entry in available_environments(root)
        if _is_in_use(entry)
    ]
    for layer, record in records(root):
        problems = check(layer, record, deep=deep)
        verified = _verified(latest(root, record.environment, record.argument))
        detail = problems[0] if problems else ", ".join(filter(None, [_size(record), verified]))
        fix = f"rootstock fetch {record.model}" if problems else ""
        report.append(Health(record.model, "damaged" if problems else "fetched", detail, fix))
    removable = plan_collection(root)
    if removable:
        report.append(Health("leftovers", "stale", f"{len(removable)} to remove", "rootstock gc"))
    return report


def _verified(verifications: list[Verification]) -> str:
    """Return on which machines and devices models passed, and which models failed."""
    passed = {f"{v.host} {v.device}{_with(v)}" for v in verifications if v.passed}
    failed = [
        f"{v.model} FAILED on {v.host} {v.device}{_with(v)}" for v in verifications if not v.passed
    ]
    return "; ".join([*([f"verified on {', '.join(sorted(passed))}"] if passed else []), *failed])


def _with(verification: Verification) -> str:
    return "" if verification.options == "{}" else f" with {verification.options}"


def _size(record: WeightsRecord) -> str:
    total = sum(file.size for file in record.files) / 2**20
    return f"{total:.1f} MiB" if record.files else "weights ship with the package"


def _is_in_use(entry: AvailableEnvironment) -> bool:
    """Return whether it is more than an unused file of the catalogue."""
    if entry.origin != "catalogue" or entry.environment is None:
        return True
    return any(current_build(paths.builds) for paths in entry.environment.layers)


def _environment_health(entry: AvailableEnvironment, root: Root) -> Health:
    if entry.environment is None:
        return Health(entry.name, "broken", entry.problem.partition("\n")[0], f"edit {entry.path}")
    environment: Environment = entry.environment
    install = f"rootstock install {environment.name}"
    for paths in environment.layers:
        build = current_build(paths.builds)
        if build is None:
            continue
        record = build.record
        built = f"built {record.built[:10]} by {record.user or '?'} on {record.host}"
        if not is_up_to_date(environment.file, paths, record):
            detail = f"file or lock edited since it was {built}"
            return Health(environment.name, "stale", detail, install)
        verifications = latest(root, environment.name)
        detail = "; ".join(filter(None, [built, _verified(verifications)]))
        failed = [v.model for v in verifications if v.build == build.id and not v.passed]
        if failed:
            fix = f"rootstock verify {failed[0]}"
            return Health(environment.name, "checks failed", detail, fix)
        return Health(environment.name, "ready", detail)
    return Health(environment.name, "not built", f"from {entry.origin}", install)
