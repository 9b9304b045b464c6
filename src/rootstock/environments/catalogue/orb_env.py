# /// script
# requires-python = ">=3.12"
# dependencies = ["orb-models==0.7.0", "ase>=3.23", "torch>=2.8"]
# [tool.rootstock]
# licence = "Apache-2.0"
# paper = "arXiv:2504.06231"
# cache = "cache/orb"
# [tool.rootstock.level_of_theory]
# default = "PBE+U (OMat24)"
# orb-v3-conservative-inf-omat = "PBE+U (OMat24)"
# orb-v3-conservative-20-omat = "PBE+U (OMat24)"
# orb-v3-direct-inf-omat = "PBE+U (OMat24)"
# orb-v3-direct-20-omat = "PBE+U (OMat24)"
# orb-v3-conservative-inf-mpa = "PBE+U"
# orb-v3-conservative-20-mpa = "PBE+U"
# orb-v3-direct-inf-mpa = "PBE+U"
# orb-v3-direct-20-mpa = "PBE+U"
# orb-v3-conservative-omol = "wB97M-V"
# orb-v3-direct-omol = "wB97M-V"
# orbmol-v2 = "wB97M-V"
# ///
"""ORB: fast graph potentials for materials (omat, mpa) and molecules (omol).

The omol models need the charge and spin multiplicity: atoms.info["charge"], atoms.info["spin"].
float32 matrices, as its authors have it; for phonons setup_kwargs={"precision": "float64"}.

Paper: arXiv:2504.06231. Licence: Apache-2.0. Weights: cache/orb.
"""

MODELS = {
    "": "orb-v3-conservative-inf-omat, the most accurate for materials",
    "orb-v3-conservative-inf-omat": "OMat24, forces by the gradient, all neighbours",
    "orb-v3-conservative-20-omat": "OMat24, forces by the gradient, 20 neighbours",
    "orb-v3-direct-inf-omat": "OMat24, forces directly, all neighbours",
    "orb-v3-direct-20-omat": "OMat24, forces directly, 20 neighbours",
    "orb-v3-conservative-inf-mpa": "MPtrj and Alexandria, forces by the gradient, all neighbours",
    "orb-v3-conservative-20-mpa": "MPtrj and Alexandria, forces by the gradient, 20 neighbours",
    "orb-v3-direct-inf-mpa": "MPtrj and Alexandria, forces directly, all neighbours",
    "orb-v3-direct-20-mpa": "MPtrj and Alexandria, forces directly, 20 neighbours",
    "orb-v3-conservative-omol": "OMol25, forces by the gradient; needs charge and spin",
    "orb-v3-direct-omol": "OMol25, forces directly; needs charge and spin",
    "orbmol-v2": "OMol25 with learned electrostatics; needs charge and spin",
    "orb-v2": "older",
}


def setup(model: str = "", device: str = "cpu", precision: str = "float32-high", **options):
    """Return ORB's own calculator."""
    from orb_models.forcefield import pretrained
    from orb_models.forcefield.inference.calculator import ORBCalculator

    load = pretrained.ORB_PRETRAINED_MODELS[model or "orb-v3-conservative-inf-omat"]
    # compile=None would mean torch.compile, a minute at each new size, even on a CPU
    potential, adapter = load(device=device, precision=precision, compile=False)
    return ORBCalculator(potential, atoms_adapter=adapter, device=device, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate crystals and molecules, and those with a charge and spin, in a call each."""
    import torch

    outcomes = [None] * len(images)
    groups = {}
    for index, atoms in enumerate(images):
        has = [name in atoms.info for name in ("charge", "spin")]
        if any(has) != all(has) or (calculator.expects_charge_and_spin and not all(has)):
            outcomes[index] = ValueError("atoms.info must contain both 'charge' and 'spin'")
            continue
        try:
            calculator.adapter._validate_inputs(atoms, torch.get_default_dtype())
        except (ValueError, NotImplementedError) as error:
            outcomes[index] = error
        else:
            groups.setdefault((all(has), bool(atoms.pbc.all())), []).append(index)
    for group in groups.values():
        for index, results in zip(group, _evaluate(calculator, [images[i] for i in group])):
            outcomes[index] = results
    return outcomes


def _evaluate(calculator, images):
    import torch

    adapter = calculator.adapter
    options = {
        "max_num_neighbors": calculator.max_num_neighbors,
        "edge_method": calculator.edge_method,
        "device": calculator.device,
    }
    if torch.get_default_dtype() == torch.float32:
        batch = adapter.from_ase_atoms_list(images, **options)
    else:  # from_ase_atoms_list would construct the edges in float32
        batch = adapter.batch([adapter.from_ase_atoms(atoms, **options) for atoms in images])
    out = calculator.model.predict(batch.to(calculator.device))
    natoms = [len(atoms) for atoms in images]
    parts = {name: _split(values, natoms) for name, values in out.items()}
    for index in range(len(images)):
        calculator._update_results({name: part[index] for name, part in parts.items()})
        yield dict(calculator.results)


def _split(values, natoms):
    """Split predictions for systems, else those for atoms."""
    return values.split(1 if len(values) == len(natoms) else natoms)
