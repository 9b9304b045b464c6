# /// script
# requires-python = ">=3.11,<3.15"
# dependencies = ["fairchem-core==2.24.0", "ase>=3.26"]
# [tool.rootstock]
# licence = "FAIR Chemistry License (gated on Hugging Face; varies by model)"
# paper = "arXiv:2506.23971"
# cache = "cache/fairchem"
# ///
"""FAIRChem: UMA for molecules, materials, catalysts, crystals; eSEN.

The weights are gated: accept their licence on Hugging Face and log in with its token. UMA needs to
be told its task: setup_kwargs={"task_name": "omat"} (materials; omol, oc20, odac, omc, ... others).
With omol it reads atoms.info["charge"] and atoms.info["spin"] (multiplicity).

float32 without TF32: setup_kwargs={"inference_settings": "high-precision"} is the default here.
The package's own default "nitro" and "multigpu" (once "turbo") are faster on CUDA with products in
TF32; "batch" keeps full precision and neither merges experts nor compiles, for mixed compositions.

Paper: arXiv:2506.23971.
Licence: FAIR Chemistry License (gated on Hugging Face; varies by model). Weights: cache/fairchem.
"""

MODELS = {
    "uma-s-1p2p1": "UMA small, newest; needs task_name",
    "uma-s-1p2": "UMA small; needs task_name",
    "uma-s-1p1": "UMA small; needs task_name",
    "uma-m-1p1": "UMA medium; needs task_name",
    "esen-sm-conserving-all-omol": "eSEN, molecules, forces by the gradient",
    "esen-sm-direct-all-omol": "eSEN, molecules, forces directly",
    "esen-md-direct-all-omol": "eSEN, molecules, forces directly, larger",
}

INFERENCE_SETTINGS = ("high-precision", "default", "nitro", "multigpu", "batch", "traineval")


def setup(
    model: str,
    device: str = "cpu",
    task_name=None,
    inference_settings="high-precision",
    **options,
):
    """Return FAIRChem's own calculator for a name or a checkpoint file."""
    from fairchem.core import FAIRChemCalculator

    if task_name is None and model.startswith("uma"):
        raise ValueError(
            'UMA needs a task: setup_kwargs={"task_name": "omat"} (or omol, oc20, ...)'
        )
    if inference_settings not in INFERENCE_SETTINGS:  # before the weights are downloaded
        raise ValueError(
            f"inference_settings must be one of {', '.join(INFERENCE_SETTINGS)}, "
            f"not {inference_settings!r}"
        )
    kind = device.partition(":")[0]
    return FAIRChemCalculator.from_model_checkpoint(
        model,
        task_name=task_name,
        inference_settings=inference_settings,
        device=kind,
        **options,
    )
