# /// script
# requires-python = ">=3.12"
# dependencies = ["mattersim==1.2.5", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "MIT (the repository's; the wheel does not say)"
# level_of_theory = "PBE+U"
# paper = "arXiv:2405.04967"
# cache = "home/.local/mattersim"
# ///
"""MatterSim: M3GNet-like potentials for materials at 0 to 5000 K and up to 1000 GPa.

float32 as its authors have it; setup_kwargs={"dtype": "float64"} for phonons.

Paper: arXiv:2405.04967.
Licence: MIT (the repository's; the wheel does not say). Weights: home/.local/mattersim.
"""

MODELS = {
    "": "MatterSim-v1.0.0-1M, the package's default",
    "MatterSim-v1.0.0-1M": "small and fast",
    "MatterSim-v1.0.0-5M": "more accurate",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return MatterSim's own calculator for a name or a checkpoint file."""
    from mattersim.forcefield import MatterSimCalculator

    name = model or "MatterSim-v1.0.0-1M"
    path = f"{name}.pth" if name in MODELS else name
    return MatterSimCalculator(load_path=path, device=device, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate crystals and molecules in one call, but those alone that are periodic in part."""
    outcomes, together = [None] * len(images), []
    for index, atoms in enumerate(images):
        if not atoms.pbc.any() or (atoms.pbc.all() and atoms.cell.volume):
            together.append(index)
            continue
        try:
            calculator.calculate(atoms, list(properties))
            outcomes[index] = dict(calculator.results)
        except ValueError as error:
            outcomes[index] = error
    if together:
        parts = _evaluate(calculator, [images[index] for index in together])
        for index, results in zip(together, parts):
            outcomes[index] = results
    return outcomes


def _evaluate(calculator, images):
    """Yield the results of each structure; MatterSim's stress is in GPa.

    The graphs are those for whole batches: `build_dataloader` would mix up the three-body terms.
    """
    import numpy as np
    import torch
    from ase.stress import full_3x3_to_voigt_6_stress
    from mattersim.datasets.utils.converter import _normalize_atoms, create_batch_graph_dict

    arguments = calculator.potential.model.model_args
    cutoffs = arguments["cutoff"], arguments["threebody_cutoff"]
    placed = [_normalize_atoms(atoms, *cutoffs) for atoms in images]  # molecules into a large cell

    def tensor(values, dtype=calculator.dtype):
        return torch.as_tensor(np.asarray(values), dtype=dtype, device=calculator.device)

    graphs = create_batch_graph_dict(
        pos=tensor(np.concatenate([atoms.positions for atoms in placed])),
        cell=tensor([atoms.cell.array for atoms in placed]),
        atomic_numbers=tensor(np.concatenate([atoms.numbers for atoms in placed]), torch.long),
        num_atoms=tensor([len(atoms) for atoms in placed], torch.long),
        pbc=tensor([atoms.pbc for atoms in placed], torch.bool),
        twobody_cutoff=cutoffs[0],
        threebody_cutoff=cutoffs[1],
    )
    out = calculator.potential.forward(
        graphs, include_forces=True, include_stresses=calculator.compute_stress
    )
    out = {name: values.detach().cpu().numpy() for name, values in out.items()}
    ends = np.cumsum([len(atoms) for atoms in images])[:-1]
    for index, forces in enumerate(np.split(out["forces"], ends)):
        energy = out["total_energy"][index]
        results = {"energy": energy, "free_energy": energy, "forces": forces}
        if calculator.compute_stress:
            stress = full_3x3_to_voigt_6_stress(out["stresses"][index])
            results["stress"] = calculator.stress_weight * stress
        yield results
