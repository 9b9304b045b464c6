# /// script
# requires-python = ">=3.10"
# dependencies = ["torchani==2.9.0", "ase>=3.23", "torch>=2.4,<=2.13"]
# [tool.rootstock]
# licence = "MIT"
# paper = "10.1021/acs.jctc.0c00121"
# elements = "H C N O"
# cache = "cache/torchani"
# ///
"""ANI: organic molecules of H C N O, ANI-2x also F S Cl. float32.

Paper: 10.1021/acs.jctc.0c00121. Licence: MIT. Weights: cache/torchani.
"""

MODELS = {
    "": "ANI2x",
    "ANI2x": "wB97X/6-31G*; H C N O F S Cl",
    "ANI1ccx": "towards coupled cluster; H C N O",
    "ANI1x": "wB97X/6-31G*; H C N O",
    "ANI2dr": "B97-3c with dispersion and repulsion",
    "ANI2xr": "ANI-2x with repulsion",
    "ANImbis": "ANI-2x with MBIS charges",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return ANI's own calculator."""
    import torchani

    return getattr(torchani.models, model or "ANI2x")(device=device).ase(**options)
