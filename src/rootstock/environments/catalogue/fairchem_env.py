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


def evaluate_batch(calculator, images, properties):
    """Evaluate with the setting "batch", by a second predictor that is loaded at the first call.

    It has full precision; "default" and "nitro" have TF32 on CUDA, so they don't agree with it.
    """
    from fairchem.core.datasets.atomic_data import atomicdata_list_to_batch

    outcomes, together, data = [None] * len(images), [], []
    for index, atoms in enumerate(images):
        try:
            if (
                len(atoms) == 1 and not atoms.pbc.any()
            ):  # looked up in a table, which needs it alone
                calculator.calculate(atoms, list(properties), [])
                outcomes[index] = dict(calculator.results)
            else:
                data.append(_convert(calculator, atoms))
                together.append(index)
        except (TypeError, ValueError) as error:
            outcomes[index] = error
    if data:
        predicted = _batch_predictor(calculator).predict(atomicdata_list_to_batch(data))
        parts = _split(calculator, predicted, [len(images[index]) for index in together])
        for index, results in zip(together, parts):
            outcomes[index] = results
    return outcomes


def _convert(calculator, atoms):
    """Do as the calculator does before it predicts."""
    import numpy as np

    if len(atoms) == 0 or (np.all(atoms.pbc) and np.allclose(atoms.cell, 0)):
        raise ValueError("no atoms, or a periodic structure without a cell")
    atoms = atoms.copy()
    for name in ("energy", "forces", "stress"):  # labels, which all of a batch or none must have
        atoms.info.pop(name, None)
    calculator.predictor.validate_atoms_data(atoms, calculator.task_name)
    return calculator.a2g(atoms)


def _batch_predictor(calculator):
    """Return the calculator's own predictor if it takes batches, else one from its checkpoint."""
    from fairchem.core.units.mlip_unit import load_predict_unit

    own = calculator.predictor
    settings = own.inference_settings
    if not (settings.merge_mole or settings.nitro or settings.compile):
        return own
    if not hasattr(calculator, "batch_predictor"):
        calculator.batch_predictor = load_predict_unit(
            own._inference_model_path,
            inference_settings="batch",
            overrides=own._overrides,
            device=own._requested_device,
            atom_refs=own.atom_refs,
            form_elem_refs=own.form_elem_refs,
        )
    return calculator.batch_predictor


def _split(calculator, predicted, natoms):
    """Yield the results of each structure."""
    import numpy as np
    from ase.stress import full_3x3_to_voigt_6_stress

    values = {name: value.detach().cpu().numpy() for name, value in predicted.items()}
    forces = np.split(values.get("forces", np.empty((sum(natoms), 3))), np.cumsum(natoms)[:-1])
    for index in range(len(natoms)):
        results = {}
        for name in calculator.implemented_properties:
            if name in ("energy", "free_energy"):
                results[name] = float(values["energy"][index])
            elif name == "forces":
                results[name] = forces[index]
            elif name == "stress":
                results[name] = full_3x3_to_voigt_6_stress(values[name][index].reshape(3, 3))
        yield results
