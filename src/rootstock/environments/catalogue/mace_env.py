# /// script
# requires-python = ">=3.10"
# dependencies = ["mace-torch==0.3.16", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "MIT"
# paper = "arXiv:2401.00096"
# cache = "cache/mace"
# [tool.rootstock.level_of_theory]
# default = "PBE+U"
# small = "PBE+U"
# medium = "PBE+U"
# large = "PBE+U"
# small-0b = "PBE+U"
# medium-0b = "PBE+U"
# small-0b2 = "PBE+U"
# medium-0b2 = "PBE+U"
# large-0b2 = "PBE+U"
# medium-0b3 = "PBE+U"
# medium-mpa-0 = "PBE+U"
# small-omat-0 = "PBE+U (OMat24)"
# medium-omat-0 = "PBE+U (OMat24)"
# mace-matpes-pbe-0 = "PBE"
# mace-matpes-r2scan-0 = "r2SCAN"
# off-small = "wB97M-D3(BJ)"
# off-medium = "wB97M-D3(BJ)"
# off-large = "wB97M-D3(BJ)"
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


def evaluate_batch(calculator, images, properties):
    """Evaluate structures in one pass of the network, with the results of MACECalculator."""
    import torch
    from ase.stress import full_3x3_to_voigt_6_stress
    from mace import data
    from mace.tools import torch_geometric, torch_tools

    plain = getattr(calculator, "model_type", "") == "MACE" and calculator.num_models == 1
    if not plain or calculator.use_compile:  # with dispersion, a committee, dipoles, compiled
        raise NotImplementedError(f"{type(calculator).__name__} evaluates one structure at a time")
    arrays = {**calculator.arrays_keys, calculator.charges_key: "charges"}
    keys = data.KeySpecification(info_keys=calculator.info_keys, arrays_keys=arrays)
    outcomes, graphs = [{} for _ in images], {}
    for number, atoms in enumerate(images):
        try:
            with torch_tools.default_dtype(calculator.default_dtype):
                config = data.config_from_atoms(
                    atoms, key_specification=keys, head_name=calculator.head
                )
                graphs[number] = data.AtomicData.from_config(
                    config,
                    z_table=calculator.z_table,
                    cutoff=calculator.r_max,
                    heads=calculator.available_heads,
                )
        except Exception as error:  # an unknown element
            outcomes[number] = error
    if not graphs:
        return outcomes
    model = calculator.models[0]
    dtype = next(model.parameters()).dtype
    batch = torch_geometric.Batch.from_data_list(list(graphs.values())).to(calculator.device)
    inputs = {
        name: value.to(dtype) if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in batch.to_dict().items()
    }
    need_forces = properties != ["energy"]
    output = model(inputs, compute_force=need_forces, compute_stress=need_forces)
    found = {n: v.detach().cpu().numpy() for n, v in output.items() if torch.is_tensor(v)}
    in_eV, in_A = calculator.energy_units_to_eV, calculator.length_units_to_A
    start = 0
    for row, number in enumerate(graphs):
        atoms = slice(start, start + len(images[number]))
        start = atoms.stop
        energy = found["energy"][row].item() * in_eV
        results = {"energy": energy, "free_energy": energy}
        results["energies"] = found["node_energy"][atoms] * in_eV
        if need_forces:
            results["forces"] = found["forces"][atoms] * (in_eV / in_A)
            results["stress"] = full_3x3_to_voigt_6_stress(found["stress"][row] * in_eV / in_A**3)
        outcomes[number] = results
    return outcomes
