# /// script
# requires-python = ">=3.10"
# dependencies = ["nequix==0.4.5", "ase>=3.23"]
# [tool.rootstock]
# licence = "MIT"
# paper = "arXiv:2508.16067"
# cache = "home/.cache/nequix"
# [tool.rootstock.level_of_theory]
# default = "PBE+U"
# nequix-mp-1 = "PBE+U"
# nequix-mp-1-pft = "PBE+U"
# nequix-omat-1 = "PBE+U (OMat24)"
# nequix-oam-1 = "PBE+U"
# nequix-oam-1-pft = "PBE+U"
# ///
"""Nequix: a small NequIP on JAX, cheap to train, for materials. float32.

Paper: arXiv:2508.16067. Licence: MIT. Weights: home/.cache/nequix.
"""

MODELS = {
    "": "nequix-mp-1",
    "nequix-mp-1": "MPtrj",
    "nequix-mp-1-pft": "MPtrj, then phonons",
    "nequix-omat-1": "OMat24",
    "nequix-oam-1": "OMat24 and sAlex and MPtrj",
    "nequix-oam-1-pft": "OMat24 and sAlex and MPtrj, then phonons",
}


def setup(model: str = "", device: str = "cpu", use_kernel: bool = False, **options):
    """Return Nequix' own calculator for a name or a model file."""
    import os

    if device == "cpu":
        os.environ["JAX_PLATFORMS"] = "cpu"
    from nequix.calculator import NequixCalculator

    name = model or "nequix-mp-1"
    where = {"model_path": name} if os.path.exists(name) else {"model_name": name}
    return NequixCalculator(**where, backend="jax", use_kernel=use_kernel, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate in one call those that are periodic along all axes, and in another the others.

    The others have no cell in Nequix' graphs, and no stress.
    """
    from nequix.data import dict_to_graphstuple, preprocess_graph

    outcomes = [None] * len(images)
    groups = {}
    for index, atoms in enumerate(images):
        try:
            graph = preprocess_graph(atoms, calculator.atom_indices, calculator.cutoff, False)
        except KeyError as error:  # an element that the model does not know
            outcomes[index] = error
        else:
            group = groups.setdefault(bool(atoms.pbc.all()), [])
            group.append((index, dict_to_graphstuple(graph)))
    for group in groups.values():
        indices, graphs = zip(*group)
        for index, results in zip(indices, _evaluate(calculator, graphs)):
            outcomes[index] = results
    return outcomes


def _evaluate(calculator, graphs):
    """Yield the results of each structure."""
    import equinox
    import jraph
    import numpy as np
    from ase.stress import full_3x3_to_voigt_6_stress

    sizes = [int(graph.n_node[0]) for graph in graphs]
    batch = jraph.batch_np(graphs)
    padded = jraph.pad_with_graphs(
        batch,
        n_node=_padded(sum(sizes) + 1),
        n_edge=_padded(int(batch.n_edge.sum())),
        n_graph=_padded(len(graphs) + 1),
    )
    energies, forces, stresses = equinox.filter_jit(calculator.model)(padded)
    forces = np.split(np.asarray(forces)[: sum(sizes)], np.cumsum(sizes)[:-1])
    for index in range(len(graphs)):
        energy = float(energies[index])
        results = {"energy": energy, "free_energy": energy, "forces": forces[index]}
        if stresses is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(np.asarray(stresses[index]))
        yield results


def _padded(size):
    """Return the next of few sizes, each of which JAX compiles once: at most a quarter more."""
    step = max(64, 1 << max(size.bit_length() - 3, 0))
    return -(-size // step) * step
