# /// script
# requires-python = ">=3.10"
# dependencies = ["tblite==0.8.0", "ase>=3.23"]
# [tool.rootstock]
# licence = "LGPL-3.0 (the package)"
# paper = "10.1021/acs.jctc.8b01176"
# cache = "in the wheel"
# [tool.rootstock.level_of_theory]
# default = "GFN2-xTB"
# GFN2-xTB = "GFN2-xTB"
# GFN1-xTB = "GFN1-xTB"
# IPEA1-xTB = "IPEA1-xTB"
# ///
"""GFN-xTB by tblite: semi-empirical tight binding, no machine learning, for contrast.

Charge is the sum of the initial charges, the number of unpaired electrons that of the initial
magnetic moments. float64; not repeatable to the last bit (each SCF starts from the last one).

Paper: 10.1021/acs.jctc.8b01176. Licence: LGPL-3.0 (the package). Weights: in the wheel.
"""

MODELS = {"": "GFN2-xTB", "GFN2-xTB": "", "GFN1-xTB": "", "IPEA1-xTB": "ionisation potentials"}


def setup(model: str = "", device: str = "cpu", **options):
    """Return tblite's own calculator."""
    from tblite.ase import TBLite

    return TBLite(method=model or "GFN2-xTB", **{"verbosity": 0, **options})
