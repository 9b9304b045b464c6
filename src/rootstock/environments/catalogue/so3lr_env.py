# /// script
# requires-python = ">=3.10"
# dependencies = ["so3krates-torch==0.2.1", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "MIT (the package)"
# level_of_theory = "PBE0+MBD"
# paper = "10.1021/jacs.5c09558"
# elements = "H C N O F P S Cl"
# cache = "in the wheel"
# ///
"""SO3LR: molecules and biomolecules with long-range electrostatics and dispersion.

Reads atoms.info["charge"] and atoms.info["total_spin"]. It returns results for any element but was
trained on H C N O F P S Cl. float32; setup_kwargs={"default_dtype": "float64"}.

Paper: 10.1021/jacs.5c09558. Licence: MIT (the package). Weights: in the wheel.
"""

MODELS = {"": "SO3LR"}


def setup(model: str = "", device: str = "cpu", compute_stress: bool = True, **options):
    """Return SO3LR's own calculator."""
    from so3krates_torch.calculator.so3 import SO3LRCalculator

    if model:
        raise ValueError(f"SO3LR has one model, named by 'so3lr' alone, not {model!r}")
    return SO3LRCalculator(device=device, compute_stress=compute_stress, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate structures in one pass of the network, with the results of SO3LRCalculator."""
    import torch
    from ase.stress import full_3x3_to_voigt_6_stress
    from so3krates_torch.tools import torch_geometric

    outcomes, graphs = [{} for _ in images], {}
    for number, atoms in enumerate(images):
        try:
            graphs[number] = _graph(calculator, atoms)
        except (KeyError, ValueError, RuntimeError) as error:  # an unknown element, no cell
            outcomes[number] = error
    if not graphs:
        return outcomes
    batch = torch_geometric.Batch.from_data_list(list(graphs.values())).to(calculator.device)
    need_forces = properties != ["energy"]
    output = calculator.models[0](
        batch.to_dict(),
        compute_force=need_forces,
        compute_stress=need_forces and calculator.compute_stress,
    )
    found = {n: v.detach().cpu().numpy() for n, v in output.items() if torch.is_tensor(v)}
    in_eV, in_A = calculator.energy_units_to_eV, calculator.length_units_to_A
    start = 0
    for row, number in enumerate(graphs):
        atoms = slice(start, start + len(images[number]))
        start = atoms.stop
        energy = found["energy"][row].item() * in_eV
        results = {"energy": energy, "free_energy": energy, "dipole": found["dipole"][row]}
        results["partial_charges"] = found["partial_charges"][atoms]
        results["hirshfeld_ratios"] = found["hirshfeld_ratios"][atoms]
        if need_forces:
            results["forces"] = found["forces"][atoms] * (in_eV / in_A)
            if calculator.compute_stress:
                stress = found["stress"][row] * (in_eV / in_A**3)
                results["stress"] = full_3x3_to_voigt_6_stress(stress)
        outcomes[number] = results
    return outcomes


def _graph(calculator, atoms):
    """Return the neighbour lists of a structure, with its charge and spin."""
    from so3krates_torch.data.atomic_data import AtomicData
    from so3krates_torch.data.utils import config_from_atoms

    known = calculator.models[0].partial_charges_output_block.atomic_embedding.num_embeddings
    if max(atoms.numbers, default=0) >= known:
        raise KeyError(f"atomic number {max(atoms.numbers)}")
    keys = calculator.key_specification
    keys.update(arrays_keys={calculator.charges_key: "Qs"})  # as the calculator does
    return AtomicData.from_config(
        config_from_atoms(atoms, key_specification=keys),
        z_table=calculator.z_table,
        cutoff=calculator.r_max,
        cutoff_lr=calculator.r_max_lr,
    )
