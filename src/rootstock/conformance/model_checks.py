"""All checks of a model in its environment, and the record of their outcome."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Union

import numpy as np
from ase.data import atomic_numbers

from ..calculator import RootstockCalculator
from ..environments.environment_file import check_settings
from ..errors import ConfigurationError, ModelError, PropertyMissingError, RootstockError
from ..evaluation.comparison import merge_largest
from ..properties import MECHANICAL
from ..runtime.session import Session
from ..structures import from_atoms
from .batch_checks import check_batch_function
from .calculator_checks import check_calculator
from .check import FAILED, NOT_APPLICABLE, PASSED, Check, outcome
from .direct_call import DirectCall
from .records import Verification, write_verification
from .repeat_checks import check_against_direct_call
from .sample_structures import of_element, samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from typing_extensions import Unpack

    from ..runtime.arguments import CalculatorArguments

__all__ = ["verify"]

#: Samples that a model is checked on if the caller gives no structures.
_SAMPLES = 2


def verify(
    model: Union[str, RootstockCalculator],
    structures: Sequence[Atoms] = (),
    **arguments: Unpack[CalculatorArguments],
) -> Verification:
    """Check a model in its environment; record the outcome for this machine and device.

    The checks are those of :func:`rootstock.conformance.check_calculator` and more: the model
    repeats itself, otherwise its noise is measured; results equal those of the model called
    directly in its environment, bit for bit or within that noise; the model works for all elements
    that its environment file claims (``elements`` in ``[tool.rootstock]``); ``evaluate_batch()``,
    if the file has one, returns what the calculator returns for a mixed set of structures.

    Parameters
    ----------
    model : str or RootstockCalculator
        Model string, with the calculator's `arguments`, or a calculator, which stays open.
    structures : sequence of Atoms
        Structures to check it on, with all their per-atom arrays and ``info``; by default the
        first two samples that it evaluates.
    **arguments
        Those of :class:`rootstock.RootstockCalculator`.

    Raises
    ------
    EnvironmentFileError
        The environment file has unknown settings.
    ConfigurationError, BuildError, StartupError
        As for the calculator; also if both a calculator and arguments are given.
    """
    if isinstance(model, RootstockCalculator):
        if arguments:
            msg = (
                f"a calculator was given together with {', '.join(arguments)}: make the "
                "calculator with these arguments, or give a model string"
            )
            raise ConfigurationError(msg)
        return _verify(model, structures)
    with RootstockCalculator(model, **arguments) as calc:
        return _verify(calc, structures)


def _verify(calc: RootstockCalculator, structures: Sequence[Atoms]) -> Verification:
    environment, argument = calc.spec.environment, calc.spec.argument
    check_settings(environment.file, strict=True)
    device = calc.report.device  # starts the worker, whose errors are the caller's
    claimed = environment.file.elements(argument)
    checks: list[Check] = []
    noise: dict[str, float] = {}
    chosen = list(structures)
    if not chosen:
        chosen, error = _evaluable(calc, claimed)
        if not chosen:
            checks.append(Check("evaluates a sample structure", FAILED, error))
    comparisons: list[Check] = []
    groups = _by_properties(calc, chosen)
    for properties, group in groups.items():
        new, new_noise = _check_evaluators(calc, device, group, properties)
        if len(groups) > 1:
            formulas = ", ".join(atoms.get_chemical_formula() for atoms in group)
            new = [replace(check, name=f"{check.name} ({formulas})") for check in new]
        comparisons += new
        merge_largest(noise, new_noise)
    for atoms in chosen:
        checks += check_calculator(calc, atoms, noise)
    if chosen:
        checks.append(_check_claims(calc, chosen))
        with contextlib.closing(Session(calc.spec)) as session:
            checks += check_batch_function(session, chosen)
    checks += comparisons
    if claimed:
        checks.append(_check_elements(calc, claimed))
    verification = Verification(
        model=calc.spec.model,
        build=calc.spec.build or "",
        device=device,
        host=socket.gethostname(),
        when=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        checks=tuple(checks),
        repeat_noise=noise,
        options=calc.spec.options,
        recorded=calc.spec.root is not None,
    )
    if calc.spec.root is not None:
        write_verification(calc.spec.root, environment.name, argument, verification)
    return verification


def _check_evaluators(
    calc: RootstockCalculator, device: str, group: Sequence[Atoms], properties: Sequence[str]
) -> tuple[list[Check], dict[str, float]]:
    spec = calc.spec
    return check_against_direct_call(
        lambda: Session(spec),
        lambda: DirectCall(spec, device),
        [from_atoms(atoms) for atoms in group],
        properties,
    )


def _evaluable(calc: RootstockCalculator, claimed: Sequence[str]) -> tuple[list[Atoms], str]:
    """Return the first samples that the model evaluates, and the last error before."""
    chosen: list[Atoms] = []
    message = ""
    for atoms in samples([symbol for symbol in claimed if symbol in atomic_numbers]):
        try:
            calc.get_potential_energy(atoms)
        except RootstockError as error:
            message = f"{atoms.get_chemical_formula()}: {error}".partition("\n")[0]
            continue
        chosen.append(atoms)
        if len(chosen) == _SAMPLES:
            break
    return chosen, message


def _by_properties(
    calc: RootstockCalculator, structures: Sequence[Atoms]
) -> dict[tuple[str, ...], list[Atoms]]:
    """Group structures by the properties that the model has for them (a molecule has no stress)."""
    groups: dict[tuple[str, ...], list[Atoms]] = {}
    for atoms in structures:
        properties = tuple(name for name in calc.implemented_properties if _has(calc, atoms, name))
        groups.setdefault(properties or ("energy",), []).append(atoms)
    return groups


def _check_claims(calc: RootstockCalculator, structures: Sequence[Atoms]) -> Check:
    """Check that the model returns what it says that it implements.

    Some calculators, ASE's EMT among them, list properties that they never return: these are
    named, and the check is not applicable. Without energy, forces or stress it fails.
    """
    refused: dict[str, str] = {}
    for atoms in structures:
        for name in calc.implemented_properties:
            if name in ("stress", "stresses") and not atoms.pbc.all():
                continue  # there is none
            try:
                calc.get_property(name, atoms)
            except (ModelError, PropertyMissingError) as error:
                refused.setdefault(name, str(error).partition("\n")[0])
            except RootstockError:  # a worker that died, for example: other checks report it
                continue
    failed = any(name in MECHANICAL for name in refused)
    result = FAILED if failed else NOT_APPLICABLE if refused else PASSED
    detail = "; ".join(f"no {name}: {reason}" for name, reason in refused.items())
    return Check("returns the properties it claims", result, detail)


def _has(calc: RootstockCalculator, atoms: Atoms, name: str) -> bool:
    try:
        calc.get_property(name, atoms)
    except (ModelError, PropertyMissingError):
        return False
    except RootstockError:  # a worker that died, say: the checks that follow report it
        return True
    return True


def _check_elements(calc: RootstockCalculator, claimed: Sequence[str]) -> Check:
    problems = []
    for symbol in claimed:
        if symbol not in atomic_numbers:
            problems.append(f"{symbol}: there is no such element")
            continue
        try:
            energy = calc.get_potential_energy(of_element(symbol))
        except RootstockError as error:
            problems.append(f"{symbol}: {error}".partition("\n")[0])
            continue
        if not np.isfinite(energy):
            problems.append(f"{symbol}: {energy} eV")
    return Check(f"works for {' '.join(claimed)}", outcome(not problems), "; ".join(problems))
