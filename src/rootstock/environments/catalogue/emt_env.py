# /// script
# requires-python = ">=3.10"
# dependencies = ["ase>=3.23"]
# [tool.rootstock]
# licence = "LGPL-2.1 (ASE)"
# paper = "10.1016/0039-6028(96)00816-3"
# elements = "Al Cu Ag Au Ni Pd Pt"
# cache = "none"
# ///
"""ASE's effective medium theory: a few metals, microseconds, for trying things.

Source: K. W. Jacobsen, P. Stoltze, J. K. Nørskov, Surf. Sci. 366, 394 (1996).
Licence: LGPL-2.1-or-later (ASE). Weights: none.
"""

MODELS = {"": "Al, Cu, Ag, Au, Ni, Pd, Pt (and rough H, C, N, O)"}


def setup(model: str = "", device: str = "cpu", **options):
    """Return ASE's EMT; `options` are its own."""
    if model:
        raise ValueError(f"EMT has no variants: use model 'emt', not 'emt-{model}'")
    from ase.calculators.emt import EMT

    return EMT(**options)
