# /// script
# requires-python = ">=3.10"
# dependencies = ["nequip==0.19.1", "nequip-allegro==0.8.3", "ase>=3.23", "torch>=2.6"]
# [tool.rootstock]
# licence = "by model, see nequip.net"
# paper = "10.1038/s41467-022-29939-5"
# cache = "cache/nequip"
# ///
"""NequIP and Allegro: E(3)-equivariant potentials, from nequip.net or your own.

Give a compiled model ("/path/model.nequip.pt2", made by nequip-compile for this device), or an
identifier of nequip.net or a package file, which is used uncompiled. float32 or 64 as trained.

Paper: 10.1038/s41467-022-29939-5. Licence: by model, see nequip.net. Weights: cache/nequip.
"""

MODELS = {
    "nequip.net:mir-group/NequIP-OAM-L:0.1": "NequIP, OMat24 and sAlex and MPtrj, large",
    "nequip.net:mir-group/NequIP-OAM-XL:0.1": "NequIP, OMat24 and sAlex and MPtrj, extra large",
    "nequip.net:mir-group/Allegro-OAM-L:0.1": "Allegro, OMat24 and sAlex and MPtrj, large",
}


def setup(model: str, device: str = "cpu", **options):
    """Return NequIP's own calculator."""
    from nequip.integrations.ase import NequIPCalculator

    if model.endswith((".pt2", ".pth")):
        return NequIPCalculator.from_compiled_model(model, device=device, **options)
    return NequIPCalculator._from_saved_model(model, device=device, **options)
