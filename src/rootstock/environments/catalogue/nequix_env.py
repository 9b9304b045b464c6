# /// script
# requires-python = ">=3.10"
# dependencies = ["nequix==0.4.5", "ase>=3.23"]
# [tool.rootstock]
# licence = "MIT"
# paper = "arXiv:2508.16067"
# cache = "home/.cache/nequix"
# ///
"""Nequix: a small NequIP on JAX, cheap to train, for materials. float32.

Paper: arXiv:2508.16067. Licence: MIT. Weights: home/.cache/nequix.
"""

MODELS = {
    "": "nequix-mp-1",
    "nequix-mp-1": "MPtrj",
    "nequix-mp-1-pft": "MPtrj, then phonons",
    "nequix-omat-1": "OMat24",
    "nequix-oam-1": "OMat24 and sAlex and MPtrj",
    "nequix-oam-1-pft": "OMat24 and sAlex and MPtrj, then phonons",
}


def setup(model: str = "", device: str = "cpu", use_kernel: bool = False, **options):
    """Return Nequix' own calculator for a name or a model file."""
    import os

    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    from nequix.calculator import NequixCalculator

    name = model or "nequix-mp-1"
    where = {"model_path": name} if os.path.exists(name) else {"model_name": name}
    return NequixCalculator(**where, backend="jax", use_kernel=use_kernel, **options)
