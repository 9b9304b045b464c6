# /// script
# requires-python = ">=3.11"
# dependencies = ["matgl==4.1.2", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "BSD-3-Clause"
# paper = "10.1038/s41524-025-01742-y"
# cache = "cache/huggingface"
# [tool.rootstock.level_of_theory]
# default = "r2SCAN"
# "TensorNet-PES-MatPES-r2SCAN-2025.2" = "r2SCAN"
# "TensorNet-PES-MatPES-PBE-2025.2" = "PBE"
# "M3GNet-PES-MatPES-r2SCAN-2025.2" = "r2SCAN"
# "M3GNet-PES-MatPES-PBE-2025.2" = "PBE"
# "QET-PES-MatPES-r2SCAN-2025.2" = "r2SCAN"
# "QET-PES-MatPES-PBE-2025.2" = "PBE"
# ///
"""MatGL: TensorNet, M3GNet and QET potentials trained on MatPES, for materials.

Stress is asked for in eV/Å³ (the package's default is GPa). QET reads the initial charges' sum.
float32.

Paper: 10.1038/s41524-025-01742-y. Licence: BSD-3-Clause. Weights: cache/huggingface.
"""

MODELS = {
    "": "TensorNet-PES-MatPES-r2SCAN-2025.2",
    "TensorNet-PES-MatPES-r2SCAN-2025.2": "TensorNet, r2SCAN",
    "TensorNet-PES-MatPES-PBE-2025.2": "TensorNet, PBE",
    "M3GNet-PES-MatPES-r2SCAN-2025.2": "M3GNet, r2SCAN",
    "M3GNet-PES-MatPES-PBE-2025.2": "M3GNet, PBE",
    "QET-PES-MatPES-r2SCAN-2025.2": "charge equilibration, r2SCAN",
    "QET-PES-MatPES-PBE-2025.2": "charge equilibration, PBE",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return MatGL's own calculator for a name or a folder with a model."""
    import matgl
    import torch
    from matgl.ext.ase import PESCalculator

    torch.set_default_device(device)  # matgl puts a potential where the default is
    potential = matgl.load_model(model or "TensorNet-PES-MatPES-r2SCAN-2025.2")
    return PESCalculator(potential, stress_unit="eV/A3", use_voigt=True, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate all in one call of the potential, whose stress is in GPa."""
    import numpy as np
    import torch
    from ase.stress import full_3x3_to_voigt_6_stress

    outcomes, together, graphs, lattices = [None] * len(images), [], [], []
    for index, atoms in enumerate(images):
        try:
            graph, lattice, _ = calculator._atoms2graph.get_graph(atoms)
        except (KeyError, NameError) as error:  # an unknown element; periodic along some axes only
            outcomes[index] = error
        else:
            together.append(index)
            graphs.append(graph)
            lattices.append(lattice.reshape(3, 3))
    if not graphs:
        return outcomes
    charges = [float(images[index].get_initial_charges().sum()) for index in together]
    energies, *others = _predict(calculator, graphs, torch.stack(lattices), charges)
    ends = np.cumsum([graph.num_nodes for graph in graphs])[:-1]
    forces = np.split(others[0], ends)
    for part, index in enumerate(together):
        energy = float(energies[part])
        outcomes[index] = {"energy": energy, "free_energy": energy, "forces": forces[part]}
        if calculator.compute_stress:
            stress = others[1].reshape(-1, 3, 3)[part]
            stress = full_3x3_to_voigt_6_stress(stress) if calculator.use_voigt else stress
            outcomes[index]["stress"] = stress * calculator.conversion_factor
        for name in ("magmom", "charge"):
            if getattr(calculator, f"compute_{name}"):
                outcomes[index][f"{name}s"] = np.split(others[3], ends)[part]
    return outcomes


def _predict(calculator, graphs, lattices, charges):
    """Return what the potential returns for a batch, as arrays."""
    import numpy as np
    import torch
    from torch_geometric.data import Batch

    options = {}
    if calculator.compute_hessian or calculator.ext_pot is not None:
        raise NotImplementedError("no batches with a Hessian or an external potential")
    if calculator.compute_charge:
        given = calculator.total_charge
        options["total_charge"] = lattices.new_tensor(
            charges if given is None else [float(given)] * len(charges)
        )
    state = calculator.state_attr
    state = torch.zeros(2) if state is None else torch.as_tensor(state)
    state = state.reshape(1, -1).repeat(len(graphs), 1).to(lattices)
    out = calculator.potential(Batch.from_data_list(graphs), lattices, state, **options)
    energies, *others = (values.detach().cpu().numpy() for values in out)
    return [np.reshape(energies, -1), *others]
