# /// script
# requires-python = ">=3.10"
# dependencies = ["diep==2.0.0", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "BSD-3-Clause (the package)"
# level_of_theory = "r2SCAN"
# paper = "arXiv:2503.04070"
# cache = "in the wheel"
# ///
"""DIEP: direct integration of the external potential, MatPES r2SCAN, 89 elements.

Stress in eV/Å³ (the bare calculator of the package has GPa). float32; repeatable with one thread.

Paper: arXiv:2503.04070. Licence: BSD-3-Clause (the package). Weights: in the wheel.
"""

MODELS = {"": "fold 1, MatPES r2SCAN"}


def setup(model: str = "", device: str = "cpu", **options):
    """Return DIEP's own calculator."""
    from diep.pretrained import make_calculator

    if model:
        raise ValueError(f"DIEP has one model, named by 'diep' alone, not {model!r}")
    return make_calculator(device=device, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate structures in one pass of the network, with the results of DIEP's calculator."""
    import torch
    from torch_geometric.data import Batch

    potential = calculator.potential
    if potential.calc_hessian or potential.apply_chunking:
        raise NotImplementedError("DIEP computes Hessians and chunks for one structure at a time")
    outcomes, graphs = [{} for _ in images], {}
    for number, atoms in enumerate(images):
        wrapped = atoms.copy()
        try:
            wrapped.wrap()
            graphs[number], _, state = calculator.graph_converter.get_graph(wrapped)
        except (KeyError, ValueError, AssertionError) as error:  # an unknown element, no cell
            outcomes[number] = error
    if not graphs:
        return outcomes
    batch = Batch.from_data_list(list(graphs.values())).to(calculator._potential_device())
    state = state if calculator.state_attr is None else calculator.state_attr
    before = potential.calc_forces, potential.calc_stresses
    if properties == ["energy"]:
        potential.calc_forces = potential.calc_stresses = False
    try:
        with torch.set_grad_enabled(potential.calc_forces):
            energies, forces, stresses, _ = potential(batch, batch.lattice, state)
    finally:
        potential.calc_forces, potential.calc_stresses = before
    energies = energies.detach().cpu().numpy().reshape(-1)
    forces, stresses = forces.detach().cpu().numpy(), stresses.detach().cpu().numpy()
    if calculator.compute_stress and properties != ["energy"]:
        stresses = stresses.reshape(-1, 3, 3) * calculator.stress_weight  # it was in GPa
    start = 0
    for row, number in enumerate(graphs):
        atoms = slice(start, start + len(images[number]))
        start = atoms.stop
        outcomes[number] = {"energy": energies[row].item(), "free_energy": energies[row].item()}
        if properties != ["energy"]:
            outcomes[number]["forces"] = forces[atoms]
            if calculator.compute_stress:
                outcomes[number]["stress"] = stresses[row]
    return outcomes
