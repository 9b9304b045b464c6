# /// script
# requires-python = ">=3.11"
# dependencies = ["aimnet[ase]==0.2.5", "ase>=3.26", "torch>=2.10"]
# [tool.rootstock]
# licence = "MIT"
# paper = "10.1039/D4SC08572H"
# elements = "H B C N O F Si P S Cl As Se Br I"
# cache = "cache/aimnet"
# ///
"""AIMNet2: molecules, neutral and charged, of H B C N O F Si P S Cl As Se Br I.

Reads atoms.info["charge"] and atoms.info["mult"]; setup_kwargs={"charge": -1} sets a default.
float32.

Paper: 10.1039/D4SC08572H. Licence: MIT. Weights: cache/aimnet.
"""

MODELS = {
    "": "aimnet2",
    "aimnet2": "wB97M-D3",
    "aimnet2-b973c": "B97-3c",
    "aimnet2-2025": "B97-3c, 2025",
    "aimnet2-nse": "open shells: reads the multiplicity",
    "aimnet2-pd": "with palladium",
    "aimnet2-rxn": "reactions",
}


def setup(model: str = "", device: str = "cpu", charge: int = 0, mult: int = 1, **options):
    """Return AIMNet2's own calculator for a name or a model file."""
    from aimnet.calculators import AIMNet2ASE, AIMNet2Calculator

    base = AIMNet2Calculator(model or "aimnet2", device=device)
    return AIMNet2ASE(base, charge=charge, mult=mult, **options)
