# /// script
# requires-python = ">=3.10"
# dependencies = ["nequip==0.19.1", "nequip-allegro==0.8.3", "ase>=3.23", "torch>=2.6"]
# [tool.rootstock]
# licence = "by model, see nequip.net"
# paper = "10.1038/s41467-022-29939-5"
# cache = "cache/nequip"
# [tool.rootstock.level_of_theory]
# "nequip.net:mir-group/NequIP-OAM-L:0.1" = "PBE+U"
# "nequip.net:mir-group/NequIP-OAM-XL:0.1" = "PBE+U"
# "nequip.net:mir-group/Allegro-OAM-L:0.1" = "PBE+U"
# ///
"""NequIP and Allegro: E(3)-equivariant potentials, from nequip.net or your own.

Give a compiled model ("/path/model.nequip.pt2", made by nequip-compile for this device), or an
identifier of nequip.net or a package file, which is used uncompiled. float32 or 64 as trained.

Paper: 10.1038/s41467-022-29939-5. Licence: by model, see nequip.net. Weights: cache/nequip.
"""

MODELS = {
    "nequip.net:mir-group/NequIP-OAM-L:0.1": "NequIP, OMat24 and sAlex and MPtrj, large",
    "nequip.net:mir-group/NequIP-OAM-XL:0.1": "NequIP, OMat24 and sAlex and MPtrj, extra large",
    "nequip.net:mir-group/Allegro-OAM-L:0.1": "Allegro, OMat24 and sAlex and MPtrj, large",
}


def setup(model: str, device: str = "cpu", **options):
    """Return NequIP's own calculator."""
    from nequip.integrations.ase import NequIPCalculator

    if model.endswith((".pt2", ".pth")):
        return NequIPCalculator.from_compiled_model(model, device=device, **options)
    return NequIPCalculator._from_saved_model(model, device=device, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate in one call those with a cell, and in another the others.

    Only with uncompiled models: one that was compiled for ASE takes one structure at a time.
    """
    from nequip.nn.graph_model import GraphModel

    if not isinstance(calculator.model, GraphModel):
        raise NotImplementedError("a model that was compiled for ASE takes no batches")
    outcomes = [None] * len(images)
    groups = {}
    for index, atoms in enumerate(images):
        try:
            data = calculator.atoms_to_data(atoms)
        except (KeyError, ValueError) as error:
            outcomes[index] = error
        else:
            groups.setdefault(frozenset(data), []).append((index, data))
    for group in groups.values():
        indices, data = zip(*group)
        for index, results in zip(indices, _evaluate(calculator, data)):
            outcomes[index] = results
    return outcomes


def _evaluate(calculator, data):
    """Yield the results of each structure."""
    import numpy as np
    from ase.stress import full_3x3_to_voigt_6_stress
    from nequip.data import AtomicDataDict

    energy, length = calculator.energy_units_to_eV, calculator.length_units_to_A
    units = {
        "energy": (AtomicDataDict.TOTAL_ENERGY_KEY, energy),
        "energies": (AtomicDataDict.PER_ATOM_ENERGY_KEY, energy),
        "forces": (AtomicDataDict.FORCE_KEY, energy / length),
        "stress": (AtomicDataDict.STRESS_KEY, energy / length**3),
    }
    out = calculator.call_model(AtomicDataDict.batched_from_list(list(data)))
    ends = np.cumsum([AtomicDataDict.num_nodes(each) for each in data])[:-1]
    values = {}
    for name, (key, unit) in units.items():
        if key in out:
            values[name] = out[key].detach().cpu().numpy() * unit
            if name in ("energies", "forces"):
                values[name] = np.split(values[name], ends)
    for index in range(len(data)):
        results = {name: value[index] for name, value in values.items()}
        results["energy"] = results["free_energy"] = results["energy"].reshape(())
        if "energies" in results:
            results["energies"] = results["energies"].reshape(-1)
        if "stress" in results:
            results["stress"] = full_3x3_to_voigt_6_stress(results["stress"].reshape(3, 3))
        yield results
