# /// script
# requires-python = ">=3.10"
# dependencies = ["so3krates-torch==0.2.1", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "MIT (the package)"
# paper = "10.1021/jacs.5c09558"
# elements = "H C N O F P S Cl"
# cache = "in the wheel"
# ///
"""SO3LR: molecules and biomolecules with long-range electrostatics and dispersion.

Reads atoms.info["charge"] and atoms.info["total_spin"]. It returns results for any element but was
trained on H C N O F P S Cl. float32; setup_kwargs={"default_dtype": "float64"}.

Paper: 10.1021/jacs.5c09558. Licence: MIT (the package). Weights: in the wheel.
"""

MODELS = {"": "SO3LR"}


def setup(model: str = "", device: str = "cpu", compute_stress: bool = True, **options):
    """Return SO3LR's own calculator."""
    from so3krates_torch.calculator.so3 import SO3LRCalculator

    if model:
        raise ValueError(f"SO3LR has one model, named by 'so3lr' alone, not {model!r}")
    return SO3LRCalculator(device=device, compute_stress=compute_stress, **options)
