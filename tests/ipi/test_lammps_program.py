"""LAMMPS as an i-PI client, by its fix ipi."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from ase.build import bulk

from rootstock import IPICalculator

pytestmark = pytest.mark.model


FIX_IPI = """
from rootstock.integrations.lammps import start_lammps

lmp = start_lammps()
lmp.commands_string('''
units metal
atom_modify map array
lattice fcc 3.6
region box block 0 3 0 3 0 3
create_box 1 box
create_atoms 1 box
mass 1 63.546
pair_style lj/cut 5.0
pair_coeff 1 1 0.4 2.3
fix driver all ipi NAME 1 unix
run 100000000
''')
"""


def test_rootstock_drives_lammps_fix_ipi():
    from ase.calculators.lj import LennardJones

    name = f"rootstock-{os.getpid()}"
    code = FIX_IPI.replace("NAME", name)
    atoms = bulk("Cu", a=3.6, cubic=True) * (3, 3, 3)
    reference = atoms.copy()
    reference.calc = LennardJones(sigma=2.3, epsilon=0.4, rc=5.0)
    with IPICalculator(unix=name, command=[sys.executable, "-c", code], timeout=60) as calc:
        atoms.calc = calc
        for turn in range(3):
            for moved in (atoms, reference):
                moved.positions[3] += [0.1 * turn, 0, 0.05]
                moved.set_cell(moved.cell * (1 + 0.005 * turn), scale_atoms=True)
            forces, expected = atoms.get_forces(), reference.get_forces()
            assert np.abs(expected).max() > 0.01
            assert np.allclose(forces, expected, atol=1e-5)
            assert np.allclose(atoms.get_stress(), reference.get_stress(), atol=1e-6)
