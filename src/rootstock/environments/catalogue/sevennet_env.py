# /// script
# requires-python = ">=3.10"
# dependencies = ["sevenn==0.13.0", "ase>=3.23", "torch>=2.4"]
# [tool.rootstock]
# licence = "MIT (the package)"
# paper = "10.1021/acs.jctc.4c00190"
# cache = "in the wheel; others: home/.cache/sevennet"
# [tool.rootstock.level_of_theory]
# default = "PBE+U"
# 7net-0 = "PBE+U"
# 7net-0_22may2024 = "PBE+U"
# 7net-l3i5 = "PBE+U"
# 7net-omat = "PBE+U (OMat24)"
# ///
"""SevenNet: an equivariant message-passing potential that parallelises over space.

Paper: Y. Park et al., J. Chem. Theory Comput. 20, 4857 (2024). Licence: MIT (the package).
Weights: four ship in the wheel; the others are downloaded. float32. The multi-fidelity models need
to be told which functional: setup_kwargs={"modal": "PBE"}.
"""

MODELS = {
    "": "7net-0",
    "7net-0": "11 July 2024, MPtrj",
    "7net-0_22may2024": "22 May 2024, MPtrj",
    "7net-l3i5": "larger and more accurate, MPtrj",
    "7net-mf-0": 'multi-fidelity; modal "PBE" or "R2SCAN"',
    "7net-mf-ompa": 'downloaded; modal "mpa" or "omat24"',
    "7net-omat": "downloaded",
    "7net-omni": "downloaded; modal required",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return SevenNet's own calculator for a name or a checkpoint file."""
    from sevenn.calculator import SevenNetCalculator

    _download_into_cache()
    return SevenNetCalculator(model or "7net-0", device=device, **options)


def _download_into_cache():
    """Let weights land in the cache, where SevenNet looks too, and not in its installed package."""
    import os

    from sevenn import _const, util

    download = util.download_checkpoint

    def into_cache(path, url):
        cache = os.path.expanduser("~/.cache/sevennet")
        return download(path.replace(_const._prefix, cache), url)

    util.download_checkpoint = into_cache


def evaluate_batch(calculator, images, properties):
    """Evaluate structures in one pass of the network, with the results of SevenNetCalculator."""
    import sevenn._keys as keys
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph
    from torch_geometric.data import Batch

    model = getattr(calculator, "model", None)
    if not hasattr(model, "set_is_batch_data"):  # with D3, or compiled
        raise NotImplementedError(f"{type(calculator).__name__} evaluates one structure at a time")
    outcomes, graphs = [{} for _ in images], {}
    for number, atoms in enumerate(images):
        try:
            calculator.set_atoms(atoms)  # refuses unknown elements
            graph = unlabeled_atoms_to_graph(atoms, calculator.cutoff, with_shift=False)
            graphs[number] = AtomGraphData.from_numpy_dict(graph)
        except Exception as error:
            outcomes[number] = error
            continue
        if calculator.modal:
            graphs[number][keys.DATA_MODALITY] = calculator.modal
    if not graphs:
        return outcomes
    model.set_is_batch_data(True)
    try:
        output = model(Batch.from_data_list(list(graphs.values())).to(calculator.device))
    finally:
        model.set_is_batch_data(False)
    names = (keys.PRED_TOTAL_ENERGY, keys.ATOMIC_ENERGY, keys.PRED_FORCE, keys.PRED_STRESS)
    energies, site_energies, forces, stresses = (output[n].detach().cpu().numpy() for n in names)
    start = 0
    for row, number in enumerate(graphs):
        atoms = slice(start, start + len(images[number]))
        start = atoms.stop
        energy = float(energies[row])
        outcomes[number] = {
            "energy": energy,
            "free_energy": energy,
            "energies": site_energies[atoms].flatten(),
            "forces": forces[atoms],
            "stress": -stresses[row][[0, 1, 2, 4, 5, 3]],
        }
    return outcomes
