# /// script
# requires-python = ">=3.9"
# dependencies = ["ase>=3.23"]
# [tool.rootstock]
# licence = "LGPL-2.1 (ASE)"
# paper = "10.1098/rspa.1924.0081"
# cache = "none"
# ///
"""Lennard-Jones from ASE: the simplest potential, for trying things.

Defaults: sigma 1 Å, epsilon 1 eV, rc 3 sigma. Argon: setup_kwargs={"sigma": 3.4, "epsilon":
0.0104, "rc": 10.0}. float64.

Paper: 10.1098/rspa.1924.0081. Licence: LGPL-2.1 (ASE). Weights: none.
"""

MODELS = {"": "all elements alike"}


def setup(model: str = "", device: str = "cpu", **options):
    """Return ASE's own calculator."""
    from ase.calculators.lj import LennardJones

    if model:
        raise ValueError(f"Lennard-Jones has one model, named by 'lj' alone, not {model!r}")
    return LennardJones(**options)
