# /// script
# requires-python = ">=3.10"
# dependencies = ["deepmd-kit[torch]==3.2.0", "ase>=3.23"]
# [tool.rootstock]
# licence = "by model, see AIS Square; the package: LGPL-3.0"
# paper = "arXiv:2506.01686"
# cache = "home/.cache/deepmd"
# ///
"""DeePMD: Deep Potential models, DPA pretrained ones among them, or your own.

The pretrained ones have branches for their data sets: setup_kwargs={"head": "..."}; those that do
read atoms.info["fparam"], atoms.info["aparam"] and atoms.info["charge_spin"].

Paper: arXiv:2506.01686.
Licence: by model, see AIS Square; the package: LGPL-3.0. Weights: home/.cache/deepmd.
"""

MODELS = {
    "DPA-3.1-3M": "several data sets; needs head",
    "DPA-3.2-5M": "several data sets; needs head",
    "DPA-3.3-1M": "several data sets; needs head",
    "DPA-2.4-7M": "older; needs head",
    "DPA3-Omol-Large": "molecules, OMol25",
}


def setup(model: str, device: str = "cpu", **options):
    """Return DeePMD's own calculator for a name or a model file."""
    import os

    if device == "cpu":
        os.environ["DEVICE"] = "cpu"  # what DeePMD asks when it is imported
    from deepmd.calculator import DP

    return DP(model, **options)


INPUTS = ("fparam", "aparam", "charge_spin")


def evaluate_batch(calculator, images, properties):
    """Evaluate those with equal numbers of atoms and equal kinds of inputs in one call."""
    outcomes = [None] * len(images)
    groups = {}
    for index, atoms in enumerate(images):
        unknown = set(atoms.get_chemical_symbols()) - set(calculator.type_dict)
        if unknown:
            outcomes[index] = KeyError(*sorted(unknown))
            continue
        given = tuple(name for name in INPUTS if atoms.info.get(name) is not None)
        kind = len(atoms), bool(atoms.pbc.any()), given
        groups.setdefault(kind, []).append(index)
    for (_, periodic, given), group in groups.items():
        parts = _evaluate(calculator, [images[index] for index in group], periodic, given)
        for index, results in zip(group, parts):
            outcomes[index] = results
    return outcomes


def _evaluate(calculator, images, periodic, given):
    """Yield the results of each structure; DeePMD returns virials."""
    import numpy as np

    symbols = [atoms.get_chemical_symbols() for atoms in images]
    energies, forces, virials = calculator.dp.eval(
        coords=np.array([atoms.positions for atoms in images]),
        cells=np.array([atoms.cell.array for atoms in images]) if periodic else None,
        atom_types=[[calculator.type_dict[symbol] for symbol in each] for each in symbols],
        mixed_type=True,
        **{name: np.array([np.ravel(atoms.info[name]) for atoms in images]) for name in given},
    )[:3]
    for index, atoms in enumerate(images):
        energy, virial = energies[index][0], virials[index].reshape(3, 3)
        results = {"energy": energy, "free_energy": energy}
        results.update(forces=forces[index], virial=virial)
        if periodic:
            stress = -0.5 * (virial + virial.T) / atoms.get_volume()
            results["stress"] = stress.flat[[0, 4, 8, 5, 2, 1]]
        yield results
