"""Workflows: structures and models in, frozen results with units and provenance out."""

from .compare import compare
from .comparison import Comparison
from .eos import EOSResult, fit_eos

__all__ = ["Comparison", "EOSResult", "compare", "fit_eos"]
