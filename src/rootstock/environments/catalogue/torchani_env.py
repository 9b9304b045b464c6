# /// script
# requires-python = ">=3.10"
# dependencies = ["torchani==2.9.0", "ase>=3.23", "torch>=2.4,<=2.13"]
# [tool.rootstock]
# licence = "MIT"
# paper = "10.1021/acs.jctc.0c00121"
# elements = "H C N O"
# cache = "cache/torchani"
# [tool.rootstock.level_of_theory]
# default = "wB97X/6-31G*"
# ANI2x = "wB97X/6-31G*"
# ANI1x = "wB97X/6-31G*"
# ANI2xr = "wB97X/6-31G*"
# ANI1ccx = "CCSD(T)*/CBS"
# ANI2dr = "B97-3c"
# ///
"""ANI: organic molecules of H C N O, ANI-2x also F S Cl. float32.

Paper: 10.1021/acs.jctc.0c00121. Licence: MIT. Weights: cache/torchani.
"""

MODELS = {
    "": "ANI2x",
    "ANI2x": "wB97X/6-31G*; H C N O F S Cl",
    "ANI1ccx": "towards coupled cluster; H C N O",
    "ANI1x": "wB97X/6-31G*; H C N O",
    "ANI2dr": "B97-3c with dispersion and repulsion",
    "ANI2xr": "ANI-2x with repulsion",
    "ANImbis": "ANI-2x with MBIS charges",
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return ANI's own calculator."""
    import torchani

    return getattr(torchani.models, model or "ANI2x")(device=device).ase(**options)


def evaluate_batch(calculator, images, properties):
    """Evaluate the molecules in one call; periodic structures, which need one cell, one by one."""
    outcomes, molecules = [{} for _ in images], []
    for number, atoms in enumerate(images):
        try:
            if atoms.pbc.any():
                calculator.results = {}
                calculator.calculate(atoms, [*properties, "free_energy"])
                outcomes[number] = dict(calculator.results)
            else:
                _species(calculator, atoms)
                molecules.append(number)
        except (ValueError, IndexError) as error:  # an unknown element
            outcomes[number] = error
    if molecules:
        results = _evaluate_molecules(calculator, [images[n] for n in molecules], properties)
        for number, found in zip(molecules, results):
            outcomes[number] = found
    return outcomes


def _species(calculator, atoms):
    """Return the atomic numbers as a tensor; raise for elements that the model does not know."""
    import torch

    species = torch.tensor(atoms.numbers, device=calculator._device)
    calculator.model.species_converter(species)
    return species


def _evaluate_molecules(calculator, images, properties):
    """Yield the results of molecules, padded to the largest one."""
    import torch
    from ase.units import Hartree
    from torch.nn.utils.rnn import pad_sequence

    species = [_species(calculator, atoms) for atoms in images]
    positions = [torch.tensor(atoms.positions, dtype=calculator._dtype) for atoms in images]
    species = pad_sequence(species, batch_first=True, padding_value=-1)
    positions = pad_sequence(positions, batch_first=True).to(calculator._device)
    positions.requires_grad_("forces" in properties)
    energies = calculator.model((species, positions)).energies * Hartree
    if "forces" in properties:
        (gradients,) = torch.autograd.grad(energies.sum(), positions)
        forces = -gradients.cpu().numpy()
    for row, atoms in enumerate(images):
        energy = energies[row].item()
        found = {"energy": energy, "free_energy": energy}
        if "forces" in properties:
            found["forces"] = forces[row, : len(atoms)]
        yield found
