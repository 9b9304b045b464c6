"""Models as forces in LAMMPS."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT

from rootstock import ConfigurationError, RootstockCalculator
from rootstock.errors import ModelError
from rootstock.integrations.lammps import ModelForces, create_atoms, start_lammps
from tests.support.paths import BIN

pytestmark = pytest.mark.model


@pytest.fixture
def lammps():
    """Return a function that starts LAMMPS; all instances are closed at the end."""
    instances = []

    def start(unit: str = "metal"):
        lmp = start_lammps()
        lmp.command(f"units {unit}")
        instances.append(lmp)
        return lmp

    yield start
    for lmp in instances:
        lmp.close()


def triclinic() -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.set_cell([[7.3, 0.4, 0.2], [-0.9, 7.1, 0.5], [0.6, -0.3, 7.4]], scale_atoms=True)
    atoms.numbers[::3] = 47
    atoms.rattle(0.05, seed=2)
    return atoms


FACTOR = {"metal": 1.0, "real": 23.060549}


@pytest.mark.parametrize("unit", ["metal", "real"])
def test_lammps_has_the_models_energy_forces_and_pressure(lammps, unit):
    atoms = triclinic()
    atoms.calc = EMT()
    lmp = lammps(unit)
    elements = create_atoms(lmp, atoms)
    lmp.command("comm_modify cutoff 6.0")
    forces = ModelForces(lmp, EMT(), elements)
    lmp.command("thermo_modify norm no")
    forces.command("run 0")
    assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy() * FACTOR[unit])
    pressure = lmp.get_thermo("press") * (units.bar if unit == "metal" else 1.01325 * units.bar)
    assert pressure == pytest.approx(-atoms.get_stress()[:3].mean(), rel=1e-5)
    ids = lmp.numpy.extract_atom("id")[:32]
    from ase.calculators.lammps import Prism

    expected = Prism(atoms.cell.array).vector_to_lammps(atoms.get_forces()) * FACTOR[unit]
    assert np.allclose(lmp.numpy.extract_atom("f")[:32], expected[ids - 1], atol=1e-8)
    assert forces.atoms.get_chemical_symbols() == atoms.get_chemical_symbols()


def test_lammps_nve_equals_ases_and_keeps_its_energy(lammps, probe_root):
    from ase.md.verlet import VelocityVerlet

    atoms = triclinic()
    atoms.set_momenta(np.random.default_rng(1).normal(scale=0.5, size=(32, 3)))
    with RootstockCalculator("probe-emt", root=probe_root, device="cpu") as calc:
        lmp = lammps()
        elements = create_atoms(lmp, atoms, ["Ag", "Cu"])
        lmp.command("comm_modify cutoff 6.0")
        lmp.command("atom_modify sort 5 2.0")  # LAMMPS reorders its atoms every five steps
        lmp.command("thermo_modify norm no")
        lmp.command("timestep 0.001")
        lmp.command("fix motion all nve")
        forces = ModelForces(lmp, calc, elements)
        totals = []
        for _ in range(10):
            forces.command("run 10")
            totals.append(lmp.get_thermo("etotal"))
        assert np.ptp(totals) < 2e-4 * 32
        atoms.calc = EMT()
        VelocityVerlet(atoms, 1.0 * units.fs).run(100)
        assert lmp.get_thermo("pe") == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
        forces.close()


def test_npt_changes_the_volume_towards_the_pressure(lammps):
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.set_cell(atoms.cell * 0.97, scale_atoms=True)
    lmp = lammps()
    elements = create_atoms(lmp, atoms)
    lmp.command("comm_modify cutoff 6.0")
    forces = ModelForces(lmp, EMT(), elements)
    lmp.command("fix box all box/relax iso 0.0 vmax 0.01")
    forces.command("minimize 1e-14 1e-10 500 5000")
    assert abs(lmp.get_thermo("press")) < 10
    # EMT's own lattice constant
    assert (lmp.get_thermo("vol") / 8) ** (1 / 3) == pytest.approx(3.596, abs=0.02)


def test_a_model_that_fails_stops_lammps(lammps, probe_root):
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    lmp = lammps()
    elements = create_atoms(lmp, atoms)
    lmp.command("comm_modify cutoff 6.0")
    lmp.command("fix motion all nve")
    emt = EMT()

    def failing(*arguments):
        if lmp.extract_global("ntimestep") == 7:
            raise ModelError("the model's own words")
        EMT.calculate(emt, *arguments)

    emt.calculate = failing
    forces = ModelForces(lmp, emt, elements)
    with pytest.raises(ModelError, match="own words"):
        forces.command("run 1000")
    assert lmp.extract_global("ntimestep") < 20
    emt.calculate = lambda *arguments: EMT.calculate(emt, *arguments)
    forces.command("run 5")  # the same run continues
    assert np.isfinite(lmp.get_thermo("pe"))


def test_invalid_arguments_are_refused(lammps, probe_root):
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    lmp = lammps()
    create_atoms(lmp, atoms)
    for elements in (["Cu", "Ag"], "Cu", ["Xy"], []):
        with pytest.raises(ConfigurationError):
            ModelForces(lmp, EMT(), elements)
    other = lammps("lj")
    with pytest.raises(ConfigurationError, match="units metal or real"):
        ModelForces(other, EMT(), ["Cu"])
    with pytest.raises(ConfigurationError, match="lacks Cu"):
        create_atoms(lammps(), atoms, ["Ag"])
    with pytest.raises(ConfigurationError, match="three vectors"):
        create_atoms(lammps(), Atoms("H"))
    with RootstockCalculator("probe-world", root=probe_root, device="cpu") as calc:
        lmp.command("comm_modify cutoff 6.0")
        forces = ModelForces(lmp, calc, ["Cu"])
        with pytest.raises(Exception, match="no property 'forces'"):
            forces.command("run 0")


RANKS = """
import sys
from rootstock import ConfigurationError
from rootstock.integrations.lammps import ModelForces, start_lammps
lmp = start_lammps()
lmp.command("units metal")
lmp.command("region box block 0 9 0 9 0 9")
lmp.command("create_box 1 box")
try:
    ModelForces(lmp, None, ["Cu"])
except ConfigurationError as error:
    print(error)
"""


def test_more_than_one_rank_is_refused(user_variables):
    mpiexec = BIN / "mpiexec"
    done = subprocess.run(
        [mpiexec, "-n", "2", sys.executable, "-c", RANKS],
        env=user_variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.count("LAMMPS runs on 2 MPI ranks") == 2, done.stdout + done.stderr
