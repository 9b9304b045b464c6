# /// script
# requires-python = ">=3.11"
# dependencies = ["upet==0.3.1", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "BSD-3-Clause"
# paper = "arXiv:2503.14118"
# cache = "cache/huggingface"
# [tool.rootstock.level_of_theory]
# default = "r2SCAN"
# "pet-mad-xs-v1.6.0" = "r2SCAN"
# "pet-mad-s-v1.6.0" = "r2SCAN"
# "pet-mad-m-v1.6.0" = "r2SCAN"
# "pet-omat-s-v1.0.0" = "PBE+U (OMat24)"
# "pet-omat-l-v1.0.0" = "PBE+U (OMat24)"
# "pet-oam-xl-v1.0.0" = "PBE+U"
# "pet-omol-s-v1.0.0" = "wB97M-V"
# ///
"""PET: the point-edge transformer; PET-MAD, PET-OMat, PET-OAM, PET-OMol and more.

Models are named with their version: each is one file of the hub. Those for molecules read
atoms.info["charge"] and atoms.info["spin_multiplicity"]. float32 by default; setup_kwargs=
{"dtype": "float64"}.

Paper: arXiv:2503.14118. Licence: BSD-3-Clause. Weights: cache/huggingface.
"""

MODELS = {
    "": "pet-mad-s-v1.6.0",
    "pet-mad-xs-v1.6.0": "materials, surfaces, molecules; r2SCAN",
    "pet-mad-s-v1.6.0": "materials, surfaces, molecules; r2SCAN",
    "pet-mad-m-v1.6.0": "materials, surfaces, molecules; r2SCAN",
    "pet-omat-s-v1.0.0": "materials, PBE",
    "pet-omat-l-v1.0.0": "materials, PBE",
    "pet-oam-xl-v1.0.0": "materials, Materials Project's PBE",
    "pet-omol-s-v1.0.0": "molecules; reads charge and spin",
}


def setup(model: str = "", device: str = "cpu", dtype=None, **options):
    """Return UPET's own calculator for a name with a version, or for a checkpoint file."""
    import os

    import torch
    from ase.calculators.calculator import PropertyNotImplementedError
    from huggingface_hub import hf_hub_download
    from upet.calculator import UPETCalculator

    path = model or "pet-mad-s-v1.6.0"
    if not os.path.exists(path):
        # by name UPET lists the hub's files each time, which fails offline even with a warm cache
        path = hf_hub_download("lab-cosmo/upet", f"{path}.ckpt", subfolder="models")
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype

    class Molecules(UPETCalculator):
        """UPET's calculator, which would divide a molecule's stress by its volume of zero."""

        def calculate(self, atoms, properties, system_changes):
            if "stress" in properties and not atoms.pbc.any():
                raise PropertyNotImplementedError("a molecule has no stress")
            super().calculate(atoms, properties, system_changes)

    calculator = Molecules(checkpoint_path=path, device=device, dtype=kind, **options)
    calculator._base_calculator.parameters["do_gradients_with_energy"] = False
    return calculator


def evaluate_batch(calculator, images, properties):
    """Evaluate in one call those that are periodic along all axes, and in another the others.

    In a call with one that is not, no structure gets a stress.
    """
    base = calculator.calculator
    if not hasattr(base, "compute_energy"):
        raise NotImplementedError("no batches with rotational averages")
    if base._model.requested_inputs(use_new_names=True):
        raise NotImplementedError("metatomic's batches leave out the charge and the spin")
    outcomes = [None] * len(images)
    groups = {}
    known = set(base._model.capabilities().atomic_types)
    for index, atoms in enumerate(images):
        unknown = set(atoms.numbers.tolist()) - known
        if unknown:
            outcomes[index] = ValueError(f"the model has no elements {sorted(unknown)}")
            continue
        if "stress" in properties and atoms.pbc.any() and not atoms.pbc.all():  # not in batches
            base.calculate(atoms, list(properties), [])
            outcomes[index] = dict(base.results)
            continue
        groups.setdefault(bool(atoms.pbc.all()), []).append(index)
    for group in groups.values():
        parts = _evaluate(base, [images[index] for index in group], properties)
        for index, results in zip(group, parts):
            outcomes[index] = results
    return outcomes


def _evaluate(base, images, properties):
    """Yield the results of each structure, in double precision as the calculator returns them."""
    import numpy as np

    values = base.compute_energy(
        images,
        compute_forces_and_stresses="forces" in properties or "stress" in properties,
        per_atom="energies" in properties,
    )
    for index in range(len(images)):
        results = {name: np.asarray(value[index], float) for name, value in values.items()}
        results["energy"] = float(results["energy"])
        if "stress" in results:
            stress = (results["stress"] + results["stress"].T) / 2
            results["stress"] = stress.flat[[0, 4, 8, 5, 2, 1]]
        yield results
