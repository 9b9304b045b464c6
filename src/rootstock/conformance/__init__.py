"""The checks of ``rootstock verify``, which other projects can use in their tests.

>>> from rootstock.conformance import verify
>>> print(verify("chgnet", device="cpu").passed)  # doctest: +SKIP

:func:`check_calculator` needs no environment: it checks any ASE calculator.
"""

from .calculator_checks import check_calculator
from .check import Check
from .model_checks import verify
from .records import Verification, latest
from .sample_structures import samples

__all__ = ["Check", "Verification", "check_calculator", "latest", "samples", "verify"]
