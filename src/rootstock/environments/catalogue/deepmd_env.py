# /// script
# requires-python = ">=3.10"
# dependencies = ["deepmd-kit[torch]==3.2.0", "ase>=3.23"]
# [tool.rootstock]
# licence = "by model, see AIS Square; the package: LGPL-3.0"
# paper = "arXiv:2506.01686"
# cache = "home/.cache/deepmd"
# ///
"""DeePMD: Deep Potential models, DPA pretrained ones among them, or your own.

The pretrained ones have branches for their data sets: setup_kwargs={"head": "..."}; those that do
read atoms.info["fparam"], atoms.info["aparam"] and atoms.info["charge_spin"].

Paper: arXiv:2506.01686.
Licence: by model, see AIS Square; the package: LGPL-3.0. Weights: home/.cache/deepmd.
"""

MODELS = {
    "DPA-3.1-3M": "several data sets; needs head",
    "DPA-3.2-5M": "several data sets; needs head",
    "DPA-3.3-1M": "several data sets; needs head",
    "DPA-2.4-7M": "older; needs head",
    "DPA3-Omol-Large": "molecules, OMol25",
}


def setup(model: str, device: str = "cpu", **options):
    """Return DeePMD's own calculator for a name or a model file."""
    import os

    if device == "cpu":
        os.environ["DEVICE"] = "cpu"  # what DeePMD asks when it is imported
    from deepmd.calculator import DP

    return DP(model, **options)
