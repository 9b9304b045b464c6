# /// script
# requires-python = ">=3.11"
# dependencies = ["matgl==4.1.2", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "BSD-3-Clause"
# paper = "10.1038/s41524-025-01742-y"
# cache = "cache/huggingface"
# ///
"""MatGL: TensorNet, M3GNet and QET potentials trained on MatPES, for materials.

Stress is asked for in eV/Å³ (the package's default is GPa). QET reads the initial charges' sum.
float32.

Paper: 10.1038/s41524-025-01742-y. Licence: BSD-3-Clause. Weights: cache/huggingface.
"""

MODELS = {
    "": "TensorNet-PES-MatPES-r2SCAN-2025.2",
    "TensorNet-PES-MatPES-r2SCAN-2025.2": "TensorNet, r2SCAN",
    "TensorNet-PES-MatPES-PBE-2025.2": "TensorNet, PBE",
    "M3GNet-PES-MatPES-r2SCAN-2025.2": "M3GNet, r2SCAN",
    "M3GNet-PES-MatPES-PBE-2025.2": "M3GNet, PBE",
    "QET-PES-MatPES-r2SCAN-2025.2": "charge equilibration, r2SCAN",
    "QET-PES-MatPES-PBE-2025.2": "charge equilibration, PBE",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return MatGL's own calculator for a name or a folder with a model."""
    import matgl
    import torch
    from matgl.ext.ase import PESCalculator

    torch.set_default_device(device)  # matgl puts a potential where the default is
    potential = matgl.load_model(model or "TensorNet-PES-MatPES-r2SCAN-2025.2")
    return PESCalculator(potential, stress_unit="eV/A3", use_voigt=True, **options)
