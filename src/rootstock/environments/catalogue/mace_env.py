# /// script
# requires-python = ">=3.10"
# dependencies = ["mace-torch==0.3.16", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "MIT"
# paper = "arXiv:2401.00096"
# cache = "cache/mace"
# [tool.rootstock.licences]  # where they differ
# small-omat-0 = "ASL (non-commercial)"
# medium-omat-0 = "ASL (non-commercial)"
# mace-matpes-pbe-0 = "ASL (non-commercial)"
# mace-matpes-r2scan-0 = "ASL (non-commercial)"
# mh-0 = "ASL (non-commercial)"
# mh-1 = "ASL (non-commercial)"
# off-small = "ASL (non-commercial)"
# off-medium = "ASL (non-commercial)"
# off-large = "ASL (non-commercial)"
# ///
"""MACE: foundation models for materials (MP, MPA, OMAT, MATPES) and molecules (OFF), or your own.

Paper: I. Batatia et al., NeurIPS 2022; MACE-MP: arXiv:2401.00096.
Licences of the weights: MIT for MP-0, MP-0b and MPA; ASL (non-commercial) for the others.
Weights: downloaded to {root}/cache/mace. float32 as MACE has it; for relaxations and phonons its
authors recommend setup_kwargs={"default_dtype": "float64"}.
"""

MODELS = {
    "": "medium-mpa-0, the package's default",
    "small": "MACE-MP-0a",
    "medium": "MACE-MP-0a",
    "large": "MACE-MP-0a",
    "small-0b": "MACE-MP-0b",
    "medium-0b": "MACE-MP-0b",
    "small-0b2": "MACE-MP-0b2",
    "medium-0b2": "MACE-MP-0b2",
    "large-0b2": "MACE-MP-0b2",
    "medium-0b3": "MACE-MP-0b3",
    "medium-mpa-0": "MPtrj and sAlex",
    "small-omat-0": "OMat24; non-commercial",
    "medium-omat-0": "OMat24; non-commercial",
    "mace-matpes-pbe-0": "MatPES PBE; non-commercial",
    "mace-matpes-r2scan-0": "MatPES r2SCAN; non-commercial",
    "mh-0": "multi-head, needs head=...; non-commercial",
    "mh-1": "multi-head, needs head=...; non-commercial",
    "off-small": "MACE-OFF23, organic molecules; non-commercial",
    "off-medium": "MACE-OFF23, organic molecules; non-commercial",
    "off-large": "MACE-OFF23, organic molecules; non-commercial",
}


def setup(model: str = "", device: str = "cpu", default_dtype: str = "float32", **options):
    """Return MACE's own calculator for a name, or for a file with a trained model."""
    import os

    options = {"device": device, "default_dtype": default_dtype, **options}
    if os.path.exists(model):
        from mace.calculators import MACECalculator

        return MACECalculator(model_paths=model, **options)
    if model not in MODELS:
        raise FileNotFoundError(
            f"{model!r} is neither a file nor a public MACE model; "
            f"public are {', '.join(filter(None, MODELS))}"
        )
    if model.startswith("off-"):
        from mace.calculators import mace_off

        return mace_off(model=model[4:], **options)
    from mace.calculators import mace_mp

    return mace_mp(model=model or "medium-mpa-0", **options)
