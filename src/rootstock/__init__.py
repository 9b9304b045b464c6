"""Any machine-learned interatomic potential as an ASE calculator, in its own environment.

>>> from rootstock import RootstockCalculator
>>> calc = RootstockCalculator(model="chgnet")  # doctest: +SKIP

Importing this package is cheap: a public name is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calculator import RootstockCalculator
    from .environments.build import install, prepare
    from .environments.discovery import available
    from .errors import (
        BuildError,
        CalculationError,
        CallTimeoutError,
        ConfigurationError,
        EnvironmentFileError,
        InsecureWarning,
        ModelError,
        PeerClosedError,
        PropertyMissingError,
        ProtocolError,
        RootError,
        RootstockError,
        SetupError,
        StartupError,
        StructureError,
        UnknownNameError,
        WeightsError,
        WorkerDiedError,
    )
    from .ipi.calculator import IPICalculator
    from .settings.root import Root, find_root
    from .ipi.driver import serve

__version__ = "0.3.0"

_HOMES = {
    "IPICalculator": "listening",
    "RootstockCalculator": "calculator",
    "available": "environments",
    "install": "environments",
    "prepare": "environments",
    "Root": "root",
    "find_root": "root",
    "serve": "serving",
}

__all__ = [
    "BuildError",
    "CalculationError",
    "CallTimeoutError",
    "ConfigurationError",
    "EnvironmentFileError",
    "IPICalculator",
    "InsecureWarning",
    "ModelError",
    "PeerClosedError",
    "PropertyMissingError",
    "ProtocolError",
    "Root",
    "RootError",
    "RootstockCalculator",
    "RootstockError",
    "SetupError",
    "StartupError",
    "StructureError",
    "UnknownNameError",
    "WeightsError",
    "WorkerDiedError",
    "available",
    "find_root",
    "install",
    "prepare",
    "serve",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
