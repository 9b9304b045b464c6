# /// script
# requires-python = ">=3.11"
# dependencies = ["upet==0.3.1", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "BSD-3-Clause"
# paper = "arXiv:2503.14118"
# cache = "cache/huggingface"
# ///
"""PET: the point-edge transformer; PET-MAD, PET-OMat, PET-OAM, PET-OMol and more.

Models are named with their version: each is one file of the hub. Those for molecules read
atoms.info["charge"] and atoms.info["spin_multiplicity"]. float32 by default; setup_kwargs=
{"dtype": "float64"}.

Paper: arXiv:2503.14118. Licence: BSD-3-Clause. Weights: cache/huggingface.
"""

MODELS = {
    "": "pet-mad-s-v1.6.0",
    "pet-mad-xs-v1.6.0": "materials, surfaces, molecules; r2SCAN",
    "pet-mad-s-v1.6.0": "materials, surfaces, molecules; r2SCAN",
    "pet-mad-m-v1.6.0": "materials, surfaces, molecules; r2SCAN",
    "pet-omat-s-v1.0.0": "materials, PBE",
    "pet-omat-l-v1.0.0": "materials, PBE",
    "pet-oam-xl-v1.0.0": "materials, Materials Project's PBE",
    "pet-omol-s-v1.0.0": "molecules; reads charge and spin",
}


def setup(model: str = "", device: str = "cpu", dtype=None, **options):
    """Return UPET's own calculator for a name with a version, or for a checkpoint file."""
    import os

    import torch
    from huggingface_hub import hf_hub_download
    from upet.calculator import UPETCalculator

    path = model or "pet-mad-s-v1.6.0"
    if not os.path.exists(path):
        # by name UPET lists the hub's files each time, which fails offline even with a warm cache
        path = hf_hub_download("lab-cosmo/upet", f"{path}.ckpt", subfolder="models")
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    return UPETCalculator(checkpoint_path=path, device=device, dtype=kind, **options)
