# /// script
# requires-python = ">=3.11"
# dependencies = ["aimnet[ase]==0.2.5", "ase>=3.26", "torch>=2.10"]
# [tool.rootstock]
# licence = "MIT"
# paper = "10.1039/D4SC08572H"
# elements = "H B C N O F Si P S Cl As Se Br I"
# cache = "cache/aimnet"
# [tool.rootstock.level_of_theory]
# default = "wB97M-D3"
# aimnet2 = "wB97M-D3"
# aimnet2-b973c = "B97-3c"
# aimnet2-2025 = "B97-3c"
# ///
"""AIMNet2: molecules, neutral and charged, of H B C N O F Si P S Cl As Se Br I.

Reads atoms.info["charge"] and atoms.info["mult"]; setup_kwargs={"charge": -1} sets a default.
float32.

Paper: 10.1039/D4SC08572H. Licence: MIT. Weights: cache/aimnet.
"""

MODELS = {
    "": "aimnet2",
    "aimnet2": "wB97M-D3",
    "aimnet2-b973c": "B97-3c",
    "aimnet2-2025": "B97-3c, 2025",
    "aimnet2-nse": "open shells: reads the multiplicity",
    "aimnet2-pd": "with palladium",
    "aimnet2-rxn": "reactions",
}


def setup(model: str = "", device: str = "cpu", charge: int = 0, mult: int = 1, **options):
    """Return AIMNet2's own calculator for a name or a model file."""
    from aimnet.calculators import AIMNet2ASE, AIMNet2Calculator
    from ase.calculators.calculator import PropertyNotImplementedError

    class WithDefaults(AIMNet2ASE):
        """AIMNet2's calculator, which would keep the charge of the structure before it."""

        def _update_charge_spin_from_info(self, atoms=None):
            self.charge, self.mult, self._t_charge, self._t_mult = charge, mult, None, None
            super()._update_charge_spin_from_info(atoms)

        def calculate(self, atoms=None, properties=None, system_changes=()):
            if "stress" in (properties or ()) and not atoms.pbc.any():
                raise PropertyNotImplementedError("a molecule has no stress")
            super().calculate(atoms, properties, system_changes)

    base = AIMNet2Calculator(model or "aimnet2", device=device)
    return WithDefaults(base, charge=charge, mult=mult, **options)


def evaluate_batch(calculator, images, properties):
    """Evaluate the molecules in one call and the periodic structures in another.

    In a call with a cell all have another Coulomb sum.
    """
    outcomes = [None] * len(images)
    groups = {}
    for index, atoms in enumerate(images):
        try:
            if calculator.validate_species:
                calculator.set_atoms(atoms)  # raises for elements that the model does not know
        except ValueError as error:
            outcomes[index] = error
        else:
            groups.setdefault(bool(atoms.pbc.any()), []).append(index)
    for group in groups.values():
        parts = _evaluate(calculator, [images[index] for index in group], properties)
        for index, results in zip(group, parts):
            outcomes[index] = results
    return outcomes


def _evaluate(calculator, images, properties):
    """Yield the results of each structure."""
    import numpy as np

    natoms = [len(atoms) for atoms in images]
    states = []
    for atoms in images:
        calculator._update_charge_spin_from_info(atoms)
        states.append((calculator.charge, calculator.mult))
    inputs = {
        "coord": np.concatenate([atoms.positions for atoms in images]).astype(np.float32),
        "numbers": np.concatenate([atoms.numbers for atoms in images]),
        "charge": [float(charge) for charge, _ in states],
        "mult": [float(mult) for _, mult in states],
        "mol_idx": np.repeat(np.arange(len(images)), natoms),
    }
    if images[0].pbc.any():
        inputs["cell"] = np.array([atoms.cell.array for atoms in images])
        inputs["pbc"] = np.array([atoms.pbc for atoms in images])
    out = calculator.base_calc(
        inputs,
        forces="forces" in properties,
        stress="stress" in properties and "cell" in inputs,
        validate_species=calculator.validate_species,
    )
    out = {name: values.detach().cpu().numpy() for name, values in out.items()}
    ends = np.cumsum(natoms)[:-1]
    for name in out.keys() - {"energy", "stress"}:
        out[name] = np.split(out[name], ends)
    for index, atoms in enumerate(images):
        results = {name: values[index] for name, values in out.items()}
        results["energy"] = float(results["energy"])
        results["dipole_moment"] = results["charges"] @ atoms.positions
        yield results
