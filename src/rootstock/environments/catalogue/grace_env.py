# /// script
# requires-python = ">=3.9,<3.14"
# dependencies = ["tensorpotential==0.6.2.1", "ase>=3.23"]
# [tool.rootstock]
# licence = "ASL (non-commercial)"
# paper = "10.1103/PhysRevX.14.021036"
# cache = "cache/grace"
# [tool.rootstock.level_of_theory]
# default = "PBE+U"
# GRACE-1L-OAM = "PBE+U"
# GRACE-2L-OAM = "PBE+U"
# GRACE-2L-OAM-L = "PBE+U"
# GRACE-FS-OAM = "PBE+U"
# GRACE-1L-OMAT = "PBE+U (OMat24)"
# GRACE-2L-OMAT = "PBE+U (OMat24)"
# ///
"""GRACE: graph atomic cluster expansion, on TensorFlow. float64 unless the name says otherwise.

Structures are evaluated one by one: the package has no batches of its own for energies and forces,
its `bulk.predict_structures` is a loop too.

Paper: 10.1103/PhysRevX.14.021036. Licence: ASL (non-commercial). Weights: cache/grace.
"""

MODELS = {
    "": "GRACE-2L-OAM",
    "GRACE-1L-OAM": "one layer, OMat24 and sAlex and MPtrj; non-commercial",
    "GRACE-2L-OAM": "two layers, OMat24 and sAlex and MPtrj; non-commercial",
    "GRACE-2L-OAM-L": "two layers, large; non-commercial",
    "GRACE-FS-OAM": "Finnis-Sinclair, fast; non-commercial",
    "GRACE-1L-OMAT": "one layer, OMat24; non-commercial",
    "GRACE-2L-OMAT": "two layers, OMat24; non-commercial",
    "GRACE-1L-SMAX-large": "one layer, SMAX; non-commercial",
    "GRACE-2L-SMAX-large": "two layers, SMAX; non-commercial",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return GRACE's own calculator for a name or a saved model's folder."""
    import os

    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # TensorFlow takes every GPU that it sees
    from tensorpotential.calculator import TPCalculator, grace_fm

    if os.path.isdir(model):
        return TPCalculator(model, **options)
    return grace_fm(model or "GRACE-2L-OAM", **options)
