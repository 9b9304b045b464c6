# /// script
# requires-python = ">=3.10"
# dependencies = ["diep==2.0.0", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "BSD-3-Clause (the package)"
# paper = "arXiv:2503.04070"
# cache = "in the wheel"
# ///
"""DIEP: direct integration of the external potential, MatPES r2SCAN, 89 elements.

Stress in eV/Å³ (the bare calculator of the package has GPa). float32; repeatable with one thread.

Paper: arXiv:2503.04070. Licence: BSD-3-Clause (the package). Weights: in the wheel.
"""

MODELS = {"": "fold 1, MatPES r2SCAN"}


def setup(model: str = "", device: str = "cpu", **options):
    """Return DIEP's own calculator."""
    from diep.pretrained import make_calculator

    if model:
        raise ValueError(f"DIEP has one model, named by 'diep' alone, not {model!r}")
    return make_calculator(device=device, **options)
