"""Several models as one ASE calculator: mean results, and how far the members disagree."""

from .alignment import Alignment, fit_alignment
from .calculator import Committee
from .calibration import Calibration
from .monitor import DisagreementMonitor
from .statistics import combine, relative_energy_std

__all__ = [
    "Alignment",
    "Calibration",
    "Committee",
    "DisagreementMonitor",
    "combine",
    "fit_alignment",
    "relative_energy_std",
]
