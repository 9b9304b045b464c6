"""Any machine-learned interatomic potential as an ASE calculator, in its own environment.

>>> from rootstock import RootstockCalculator
>>> calc = RootstockCalculator(model="chgnet")  # doctest: +SKIP

Importing this package is cheap: a public name is imported when it is first used. Errors that are
not listed here are in :mod:`rootstock.errors`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .calculator import RootstockCalculator
    from .committee import Committee
    from .conformance import verify
    from .errors import (
        BuildError,
        CalculationError,
        ConfigurationError,
        RootstockError,
        StartupError,
    )
    from .evaluation.evaluate import evaluate
    from .evaluation.result import Evaluation
    from .evaluation.tasks.map import map  # noqa: A004  its public name
    from .evaluation.tasks.result import TaskResult
    from .ipi.calculator import IPICalculator
    from .ipi.driver import serve
    from .maintenance.fetch import fetch
    from .maintenance.install import available, install
    from .runtime.preparation import prepare
    from .runtime.provenance import ModelIdentity, Provenance
    from .runtime.spec import WorkerSpec
    from .settings.root import Root, find_root
    from .workflows.compare import compare
    from .workflows.comparison import Comparison

#: Public names and the modules that define them.
_MODULES = {
    "BuildError": "errors",
    "CalculationError": "errors",
    "Committee": "committee",
    "Comparison": "workflows.comparison",
    "ConfigurationError": "errors",
    "Evaluation": "evaluation.result",
    "IPICalculator": "ipi.calculator",
    "ModelIdentity": "runtime.provenance",
    "Provenance": "runtime.provenance",
    "Root": "settings.root",
    "RootstockCalculator": "calculator",
    "RootstockError": "errors",
    "StartupError": "errors",
    "TaskResult": "evaluation.tasks.result",
    "WorkerSpec": "runtime.spec",
    "available": "maintenance.install",
    "compare": "workflows.compare",
    "evaluate": "evaluation.evaluate",
    "fetch": "maintenance.fetch",
    "find_root": "settings.root",
    "install": "maintenance.install",
    "map": "evaluation.tasks.map",
    "prepare": "runtime.preparation",
    "serve": "ipi.driver",
    "verify": "conformance",
}

__all__ = [
    "BuildError",
    "CalculationError",
    "Committee",
    "Comparison",
    "ConfigurationError",
    "Evaluation",
    "IPICalculator",
    "ModelIdentity",
    "Provenance",
    "Root",
    "RootstockCalculator",
    "RootstockError",
    "StartupError",
    "TaskResult",
    "WorkerSpec",
    "__version__",
    "available",
    "compare",
    "evaluate",
    "fetch",
    "find_root",
    "install",
    "map",
    "prepare",
    "serve",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
