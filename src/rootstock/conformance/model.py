"""A model in its environment: the kit, the direct call beside it, and the record of the outcome."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import os
import socket
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import quote

import numpy as np

from ..errors import RootstockError
from ..runtime.variables import pin_device, worker_variables
from ..settings.root import maintaining, writing
from ..support.processes import ChildProcess
from .checks import Check, check_calculator, of_element, samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

    from ..calculator import RootstockCalculator
    from ..settings.root import Root

__all__ = ["Verification", "latest", "verify"]

_DIRECT = Path(__file__).resolve().parent.parent / "worker" / "direct.py"
#: How far results may be from those of the direct call: models that are not repeatable are.
_NEAR = 2e-2


@dataclass(frozen=True)
class Verification:
    """All checks of a model on one machine and device.

    Attributes
    ----------
    model, key, device, host, when : str
        Of what, in which environment, on what, where, and when (ISO 8601, UTC).
    checks : tuple of Check
        All of them.
    """

    model: str
    key: str
    device: str
    host: str
    when: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether the model passed all."""
        return all(check.passed for check in self.checks)


def verify(calc: RootstockCalculator, structures: Sequence[Atoms] = ()) -> Verification:
    """Check a model in its environment; record the outcome for this machine and device.

    Beyond :func:`check_calculator`: the results equal those of the model called directly in its
    environment, and it works for all elements that its environment file claims (``elements`` in
    ``[tool.rootstock]``: a string, or a table of them by model).

    Parameters
    ----------
    calc : RootstockCalculator
        Which model, where, on which device.
    structures : sequence of Atoms
        To check it on; by default the first two of :func:`samples` that it knows.
    """
    spec = calc.spec
    claimed = spec.file.elements(spec.argument)
    chosen = list(structures) or _known(calc, claimed)
    checks = [check for atoms in chosen for check in check_calculator(calc, atoms)]
    if not chosen:
        checks.append(Check("evaluates any sample", passed=False, detail="none of them"))
    else:
        checks.append(_equals_direct(calc, chosen))
    if claimed:
        checks.append(_all_elements(calc, claimed))
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    key = str(calc.provenance["environment_key"])
    found = Verification(spec.text, key, calc.device, socket.gethostname(), now, tuple(checks))
    if spec.root is not None:
        _record(spec.root, spec.file.name, spec.argument, found)
    return found


def _known(calc: RootstockCalculator, claimed: Sequence[str]) -> list[Atoms]:
    """Return the first two samples that the model evaluates."""

    def works(atoms: Atoms) -> bool:
        try:
            calc.get_potential_energy(atoms)
        except RootstockError:
            return False
        return True

    return list(itertools.islice(filter(works, samples(claimed)), 2))


def _all_elements(calc: RootstockCalculator, claimed: Sequence[str]) -> Check:
    failed = []
    for symbol in claimed:
        try:
            energy = calc.get_potential_energy(of_element(symbol))
            if not np.isfinite(energy):
                failed.append(f"{symbol}: {energy}")
        except RootstockError as error:
            failed.append(f"{symbol}: {error}".partition("\n")[0])
    return Check(f"works for {' '.join(claimed)}", not failed, "; ".join(failed))


def _equals_direct(calc: RootstockCalculator, structures: Sequence[Atoms]) -> Check:
    """Compare with a process of the environment that knows nothing of Rootstock."""
    name = "equals the direct call in the environment"
    ours = []
    try:
        for atoms in structures:
            copy = atoms.copy()
            copy.calc = calc
            copy.get_potential_energy()
            copy.get_forces()
            ours.append(dict(calc.results))
        theirs = _direct(calc, structures)
    except (OSError, subprocess.SubprocessError, ValueError, RootstockError) as error:
        words = getattr(error, "stderr", b"") or str(error).encode()
        return Check(name, passed=False, detail=words[-500:].decode(errors="replace"))
    worst = 0.0
    for mine, direct in zip(ours, theirs):
        for key, value in direct.items():
            found = np.asarray(mine.get(key, np.nan), float)
            worst = max(worst, float(np.abs(found - np.asarray(value, float)).max(initial=0.0)))
    detail = "bit for bit" if worst == 0 else f"to {worst:.1e}"
    return Check(name, bool(worst <= _NEAR), detail)


def _direct(calc: RootstockCalculator, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
    spec, environment = calc.spec, calc._session.environment  # noqa: SLF001
    device, mask = pin_device(calc.device)
    variables = worker_variables(spec.file, spec.root, spec.threads, mask, offline=spec.offline)
    request = {
        "file": str(spec.file.path),
        "argument": spec.argument,
        "device": device,
        "options": dict(spec.options),
        "threads": spec.threads,
        "structures": [
            {
                "numbers": atoms.numbers.tolist(),
                "positions": atoms.positions.tolist(),
                "cell": atoms.cell.array.tolist(),
                "pbc": atoms.pbc.tolist(),
            }
            for atoms in structures
        ],
    }
    # A file for the answer and a pipe that is drained: a model that prints a lot stops nothing.
    with tempfile.TemporaryFile() as answer:
        with ChildProcess(
            [environment.python, "-I", "-B", _DIRECT, str(answer.fileno())],  # type: ignore[union-attr]
            inherit=[answer.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=variables,
        ) as child:
            _, words = child.popen.communicate(json.dumps(request).encode())
        if child.popen.returncode:
            raise subprocess.CalledProcessError(child.popen.returncode, "direct.py", stderr=words)
        answer.seek(0)
        found: list[dict[str, Any]] = json.load(answer)
    return found


def _folder(layer: Root, environment: str, argument: str) -> Path:
    return layer.records / "verified" / environment / (quote(argument, safe="") or "default")


def _record(root: Root, environment: str, argument: str, found: Verification) -> None:
    folder = _folder(root.writable, environment, argument)
    with maintaining(root), writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        name = quote(f"{found.host}-{found.device}", safe="")
        new = folder / f".{name}.{os.getpid()}"
        new.write_text(json.dumps(asdict(found), indent=2) + "\n")
        new.replace(folder / f"{name}.json")


def latest(root: Root, environment: str, argument: Optional[str] = None) -> list[Verification]:
    """Return the recorded verifications of a model, one for each machine and device.

    Parameters
    ----------
    root : Root
        Where.
    environment : str
        Its name.
    argument : str, optional
        Which model; by default all of the environment.
    """
    found = {}
    for layer in reversed(root.layers):
        folder = _folder(layer, environment, argument or "")
        paths = folder.parent.glob("*/*.json") if argument is None else folder.glob("*.json")
        for path in sorted(paths):
            try:
                data = json.loads(path.read_bytes())
                checks = tuple(Check(**entry) for entry in data.pop("checks"))
                found[path.parent.name, path.name] = Verification(checks=checks, **data)
            except (OSError, ValueError, TypeError, KeyError):
                continue  # of another version, or just being written
    return list(found.values())
