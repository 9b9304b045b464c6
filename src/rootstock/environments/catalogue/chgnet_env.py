# /// script
# requires-python = ">=3.10"
# dependencies = ["chgnet==0.4.2", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "BSD-3-Clause (LBNL)"
# paper = "10.1038/s42256-023-00716-3"
# cache = "in the wheel"
# [tool.rootstock.level_of_theory]
# default = "PBE+U with MP2020 corrections"
# "0.3.0" = "PBE+U with MP2020 corrections"
# "0.2.0" = "PBE+U with MP2020 corrections"
# r2scan = "r2SCAN"
# ///
"""CHGNet: energies, forces, stresses and magnetic moments for most of the periodic table.

Paper: B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023). Licence: BSD-3-Clause (LBNL).
Weights: shipped in the wheel. float32. Energies of 0.3.0 include MP2020 corrections.
"""

MODELS = {
    "": "CHGNet 0.3.0, the package's default",
    "0.3.0": "PBE/PBE+U with MP2020 corrections",
    "0.2.0": "the weights of the paper",
    "r2scan": "r2SCAN",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return CHGNet's own calculator; `options` are its own, such as return_site_energies."""
    if model not in MODELS:
        raise ValueError(f"CHGNet has no model {model!r}; it has {', '.join(filter(None, MODELS))}")
    from chgnet.model import CHGNet, CHGNetCalculator

    network = CHGNet.load(model_name=model or "0.3.0", use_device=device, verbose=False)
    return CHGNetCalculator(network, use_device=device, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate crystals in one pass of the network, with the results of CHGNetCalculator."""
    from pymatgen.io.ase import AseAtomsAdaptor

    network = calculator.model
    known = network.atom_embedding.embedding.num_embeddings
    outcomes, graphs = [{} for _ in images], {}
    for number, atoms in enumerate(images):
        try:
            graph = network.graph_converter(AseAtomsAdaptor.get_structure(atoms))
        except Exception as error:  # no cell, or an isolated atom where that is an error
            outcomes[number] = error
            continue
        if atoms.numbers.max() > known:
            outcomes[number] = KeyError(f"atomic number {atoms.numbers.max()}")
        else:
            graphs[number] = graph
    if not graphs:
        return outcomes
    predictions = network.predict_graph(
        [graph.to(calculator.device) for graph in graphs.values()],
        task="e" if properties == ["energy"] else "efsm",
        return_site_energies=calculator.return_site_energies,
        return_crystal_feas=True,
        batch_size=len(graphs),
    )
    for number, found in zip(graphs, predictions if len(graphs) > 1 else [predictions]):
        atoms_in_energy = len(images[number]) if network.is_intensive else 1  # eV/atom
        scales = {"e": atoms_in_energy, "f": 1, "m": 1, "s": calculator.stress_weight}  # s in GPa
        names = {"e": "energy", "f": "forces", "m": "magmoms", "s": "stress"}
        results = {names[key]: found[key] * scales[key] for key in names if key in found}
        results.update(free_energy=results["energy"], crystal_fea=found["crystal_fea"])
        if calculator.return_site_energies:
            results["energies"] = found["site_energies"]
        outcomes[number] = results
    return outcomes
