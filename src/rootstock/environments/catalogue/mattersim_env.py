# /// script
# requires-python = ">=3.12"
# dependencies = ["mattersim==1.2.5", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "MIT (the repository's; the wheel does not say)"
# paper = "arXiv:2405.04967"
# cache = "home/.local/mattersim"
# ///
"""MatterSim: M3GNet-like potentials for materials at 0 to 5000 K and up to 1000 GPa.

float32 as its authors have it; setup_kwargs={"dtype": "float64"} for phonons.

Paper: arXiv:2405.04967.
Licence: MIT (the repository's; the wheel does not say). Weights: home/.local/mattersim.
"""

MODELS = {
    "": "MatterSim-v1.0.0-1M, the package's default",
    "MatterSim-v1.0.0-1M": "small and fast",
    "MatterSim-v1.0.0-5M": "more accurate",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return MatterSim's own calculator for a name or a checkpoint file."""
    from mattersim.forcefield import MatterSimCalculator

    name = model or "MatterSim-v1.0.0-1M"
    path = f"{name}.pth" if name in MODELS else name
    return MatterSimCalculator(load_path=path, device=device, **options)
