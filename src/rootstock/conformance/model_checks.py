"""All checks of a model in its environment, and the record of their outcome."""

from __future__ import annotations

import datetime as dt
import itertools
import socket
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from ..calculator import RootstockCalculator
from ..environments.environment_file import check_settings
from ..errors import RootstockError
from ..structures import from_atoms
from .calculator_checks import check_calculator
from .check import FAILED, PASSED, Check, outcome
from .comparison import compare_results, describe_deviations
from .direct_call import DirectCall
from .records import Verification, write_verification
from .sample_structures import of_element, samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from typing_extensions import Unpack

    from ..runtime.arguments import CalculatorArguments

__all__ = ["verify"]


def verify(
    model: Union[str, RootstockCalculator],
    structures: Sequence[Atoms] = (),
    **arguments: Unpack[CalculatorArguments],
) -> Verification:
    """Check a model in its environment; record the outcome for this machine and device.

    Beyond :func:`rootstock.conformance.check_calculator`: the model repeats itself, or its noise
    is measured; results equal those of the model called directly in its environment, bit for bit
    or within that noise; and it works for all elements that its environment file claims.

    Parameters
    ----------
    model : str or RootstockCalculator
        Model string, with the calculator's `arguments`, or a calculator.
    structures : sequence of Atoms
        Structures to check it on; by default the first two samples that it evaluates.
    **arguments
        Those of :class:`rootstock.RootstockCalculator`.

    Raises
    ------
    EnvironmentFileError
        The environment file has unknown settings.
    ConfigurationError, BuildError, StartupError
        As for the calculator.
    """
    if isinstance(model, RootstockCalculator):
        return _verify(model, structures)
    with RootstockCalculator(model, **arguments) as calc:
        return _verify(calc, structures)


def _verify(calc: RootstockCalculator, structures: Sequence[Atoms]) -> Verification:
    spec = calc.spec
    file = spec.environment.file
    check_settings(file, strict=True)
    claimed = file.elements(spec.argument)
    chosen = list(structures) or _evaluable(calc, claimed)
    checks = [check for atoms in chosen for check in check_calculator(calc, atoms)]
    noise: dict[str, float] = {}
    if chosen:
        repeats, noise = _check_repeats(calc, chosen)
        checks += [repeats, _check_direct_call(calc, chosen, noise)]
    else:
        checks.append(Check("evaluates any sample", FAILED, "none of them"))
    if claimed:
        checks.append(_check_elements(calc, claimed))
    now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    build = calc.spec.build or ""
    host = socket.gethostname()
    verification = Verification(
        spec.model, build, calc.device, host, now, tuple(checks), repeat_noise=noise
    )
    if spec.root is not None:
        write_verification(spec.root, spec.environment.name, spec.argument, verification)
    return verification


def _evaluable(calc: RootstockCalculator, claimed: Sequence[str]) -> list[Atoms]:
    """Return the first two samples that the model evaluates."""

    def works(atoms: Atoms) -> bool:
        try:
            calc.get_potential_energy(atoms)
        except RootstockError:
            return False
        return True

    return list(itertools.islice(filter(works, samples(claimed)), 2))


def _properties(calc: RootstockCalculator) -> list[str]:
    return [name for name in ("energy", "forces") if name in calc.implemented_properties]


def _results(calc: RootstockCalculator, atoms: Atoms) -> dict[str, Any]:
    """Evaluate anew, without the calculator's cache."""
    calc.results = {}
    calc.calculate(atoms, _properties(calc))
    return dict(calc.results)


def _check_repeats(
    calc: RootstockCalculator, structures: Sequence[Atoms]
) -> tuple[Check, dict[str, float]]:
    """Measure how far results differ between calls, directly and after other structures."""
    name = "repeats itself"
    noise: dict[str, float] = {}
    problems: list[str] = []
    try:
        first = [_results(calc, atoms) for atoms in structures]
        rounds = [[_results(calc, atoms), _results(calc, atoms)] for atoms in structures]
    except RootstockError as error:
        return Check(name, FAILED, str(error).partition("\n")[0]), noise
    for results, repeated in zip(first, rounds):
        for other in repeated:
            deviations, new_problems = compare_results(results, other)
            problems += new_problems
            for key, value in deviations.items():
                noise[key] = max(noise.get(key, 0.0), value)
    detail = "; ".join([*problems, describe_deviations(noise)])
    return Check(name, outcome(not problems), detail), noise


def _check_direct_call(
    calc: RootstockCalculator, structures: Sequence[Atoms], noise: dict[str, float]
) -> Check:
    """Compare with a process of the environment that runs no worker."""
    name = "equals the direct call in the environment"
    direct = DirectCall(calc.spec, calc.device)
    deviations: dict[str, float] = {}
    problems: list[str] = []
    try:
        ours = [_results(calc, atoms) for atoms in structures]
        outcomes = direct.evaluate([from_atoms(atoms) for atoms in structures], _properties(calc))
        for results, other in zip(ours, outcomes):
            if isinstance(other, RootstockError):
                raise other
            differences, new_problems = compare_results(results, other)
            problems += new_problems
            for key, value in differences.items():
                deviations[key] = max(deviations.get(key, 0.0), value)
    except RootstockError as error:
        return Check(name, FAILED, str(error)[-500:])
    beyond = [key for key, value in deviations.items() if value > noise.get(key, 0.0)]
    detail = describe_deviations(deviations)
    if any(noise.values()):
        detail += f" (the model's own repeat noise: {describe_deviations(noise)})"
    result = PASSED if deviations and not beyond and not problems else FAILED
    return Check(name, result, "; ".join([*problems, detail]))


def _check_elements(calc: RootstockCalculator, claimed: Sequence[str]) -> Check:
    failed = []
    for symbol in claimed:
        try:
            energy = calc.get_potential_energy(of_element(symbol))
            if not np.isfinite(energy):
                failed.append(f"{symbol}: {energy}")
        except RootstockError as error:
            failed.append(f"{symbol}: {error}".partition("\n")[0])
    return Check(f"works for {' '.join(claimed)}", outcome(not failed), "; ".join(failed))
