"""Is a model what it claims to be, here and on this device? The kit that tests and users import.

>>> from rootstock import RootstockCalculator
>>> from rootstock.verify import verify
>>> with RootstockCalculator("chgnet") as calc:  # doctest: +SKIP
...     print(verify(calc).passed)

`check_calculator` does the part that needs no environment: it works for any ASE calculator.
"""

from .checks import Check, check_calculator, samples
from .model import Verification, latest, verify

__all__ = ["Check", "Verification", "check_calculator", "latest", "samples", "verify"]
