"""The members of a committee: making them, and what is said about them."""

from __future__ import annotations

import copy
import os
import warnings
from typing import TYPE_CHECKING, Optional, Union

from ..calculator import RootstockCalculator
from ..errors import ConfigurationError
from ..runtime.arguments import checked_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import RootstockError
    from ..runtime.arguments import CalculatorArguments

__all__ = ["SMALLEST", "Member", "make_members", "named_error", "warn_about_levels"]

Member = Union[str, RootstockCalculator]
#: Devices on which members share the cores.
_ON_CPU = ("auto", "cpu")
#: Members of the smallest committee.
SMALLEST = 2


def make_members(
    members: Sequence[Member], devices: Optional[Sequence[str]], arguments: CalculatorArguments
) -> list[RootstockCalculator]:
    """Return a calculator for each member; those on the CPU share its cores.

    Raises
    ------
    ConfigurationError
        Fewer than two members, or not one device for each.
    """
    if isinstance(members, str) or len(members) < SMALLEST:
        msg = f"a committee needs a list of at least two members, not {members!r}"
        raise ConfigurationError(msg)
    if devices is not None and (isinstance(devices, str) or len(devices) != len(members)):
        msg = f"devices={devices!r} must be a list with the device of each member"
        raise ConfigurationError(msg)
    general = arguments.get("device", "auto")
    on_cpu = sum(device in _ON_CPU for device in devices or [general] * len(members))
    calculators = []
    for number, member in enumerate(members):
        if isinstance(member, RootstockCalculator):
            calculators.append(copy.copy(member))
            continue
        options = {**arguments}
        if devices is not None:
            options["device"] = checked_device(devices[number])
        if options.get("device", "auto") in _ON_CPU and not options.get("threads"):
            options["threads"] = max(1, len(os.sched_getaffinity(0)) // on_cpu)
        calculators.append(RootstockCalculator(member, **options))  # type: ignore[arg-type]
    return calculators


def warn_about_levels(members: Sequence[RootstockCalculator]) -> None:
    """Warn if the members were trained on different methods: their spread measures these.

    The first word of a level of theory counts: corrections and data sets behind it shift energies.
    """
    levels = {
        member.spec.model: member.spec.environment.file.level_of_theory(member.spec.argument)
        for member in members
    }
    if len({level.split()[0] for level in levels.values() if level}) > 1:
        listed = ", ".join(f"{name}: {level or 'not stated'}" for name, level in levels.items())
        warnings.warn(
            f"the members have different levels of theory ({listed}): their disagreement is "
            "also that of the methods",
            RuntimeWarning,
            stacklevel=3,
        )


def named_error(error: RootstockError, name: str) -> RootstockError:
    """Return the error with the member's name in its message."""
    named = copy.copy(error)
    named.args = (f"member {name!r} of the committee: {error}", *error.args[1:])
    named.__cause__ = error.__cause__
    return named
