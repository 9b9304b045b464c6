"""The real programs: i-PI, LAMMPS and ASE as drivers and as clients; the scripts of the docs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write
from conftest import REPO

from rootstock import ConfigurationError, IPICalculator, ModelError, RootstockCalculator
from rootstock.integrations.lammps import ModelForces, create_atoms, start_lammps

pytestmark = pytest.mark.model

BIN = Path(sys.executable).parent
INPUTS = REPO / "examples" / "ipi"


@pytest.fixture
def world(probe_root, torch_root):
    """Variables of a program that a user starts."""
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "ROOTSTOCK_ROOT": str(torch_root), "OMP_NUM_THREADS": "1"}


def scripts():
    """Return every script that a page of the docs says can be run as it stands."""
    marked = re.compile(r"<!-- script(?: in (\S+))? -->\n```python\n(.*?)```", re.DOTALL)
    for page in sorted((REPO / "docs").glob("*.md")):
        for number, (folder, code) in enumerate(marked.findall(page.read_text())):
            yield pytest.param(folder, code, id=f"{page.stem}-{number}")


@pytest.mark.parametrize(("folder", "code"), list(scripts()))
def test_the_scripts_of_the_docs(folder, code, tmp_path, world):
    here = tmp_path / "here"
    if folder:
        shutil.copytree(REPO / folder, here)
    else:
        here.mkdir()
    (here / "script.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=here,
        env=world,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout


# --- i-PI -------------------------------------------------------------------------------------------


def simulation(name: str, address: str, **replaced: str) -> str:
    """Return an example's input with another address and what else is replaced."""
    text = (INPUTS / f"{name}.xml").read_text()
    for old, new in {"<address>rootstock": f"<address>{address}", **replaced}.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def ipi(folder: Path, text: str, world):
    """Run i-PI; it must end by itself and without an error."""
    (folder / "input.xml").write_text(text)
    process = subprocess.Popen(
        [BIN / "i-pi", "input.xml"],
        cwd=folder,
        env=world,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield
        out, _ = process.communicate(timeout=240)
        assert process.returncode == 0, out[-3000:]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def serve(world, model: str, structure: Path, *options: str) -> list[dict]:
    """Run the command to its end; return its JSON lines."""
    command = [sys.executable, "-m", "rootstock", "serve", model, "--json", "--threads", "1"]
    command += ["--structure", structure, "--device", "cpu", *options]
    done = subprocess.run(
        list(map(str, command)), env=world, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(path: Path) -> np.ndarray:
    return np.loadtxt(path)


def numbers(extras: Path) -> np.ndarray:
    """Return what i-PI wrote of extras."""
    rows = [line for line in extras.read_text().splitlines() if "#EXTRAS" not in line]
    return np.array(" ".join(rows).split(), float)


COLUMNS = ["step", "time", "conserved", "temperature", "potential", "pressure", "volume"]


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    atoms.rattle(0.02, seed=1)
    return atoms


DIRECT = """
from ase.calculators.emt import EMT
from ipi.pes._ase import ASEDriver

__DRIVER_NAME__ = "custom"
__DRIVER_CLASS__ = "Direct"


class Direct(ASEDriver):
    def check_parameters(self):
        super().check_parameters()
        self.ase_calculator = EMT()
"""


@pytest.mark.parametrize("consolidated", ["True", "False"])
@pytest.mark.parametrize("name", ["nve", "npt", "pimd"])
def test_ipi_gets_the_same_energies_as_directly(tmp_path, world, name, consolidated):
    """By a socket and by i-PI's own ASE driver; the virial counts in NPT."""
    tables = {}
    for way in ("socket", "direct"):
        folder = tmp_path / way
        folder.mkdir()
        write(folder / "init.xyz", copper(), format="ipi")
        address = f"rootstock-{os.getpid()}"
        text = simulation(name, address)
        if way == "direct":
            (folder / "direct.py").write_text(DIRECT)
            forcefield = (
                "<ffdirect name='model' pbc='false'><pes>custom</pes><pes_path>direct.py</pes_path>"
                "<parameters>{template: init.xyz}</parameters></ffdirect>"
            )
            text = re.sub(r"<ffsocket.*?</ffsocket>", forcefield, text, flags=re.DOTALL)
            with ipi(folder, text, world):
                pass
        else:
            how = f"</latency><consolidate_messages>{consolidated}</consolidate_messages>"
            text = text.replace("</latency>", how)
            with ipi(folder, text, world):
                workers = 2 if name == "pimd" else 1
                options = ["--unix", address, "--count", str(workers)]
                lines = serve(world, "probe-emt", folder / "init.xyz", *options)
                steps = [client["steps"] for client in lines[-1]["clients"]]
                beads = 4 if name == "pimd" else 1
                assert sum(steps) >= 21 * beads and all(steps)
        tables[way] = table(folder / f"{name}.out")
    assert len(tables["socket"]) == 21
    # i-PI's own Å is 7e-8 short of ASE's, which is all that may differ. Such a strain of copper is
    # a pressure of 0.03 MPa.
    pressure = COLUMNS.index("pressure")
    found, expected = (tables[way] for way in ("socket", "direct"))
    assert np.allclose(found[:, pressure], expected[:, pressure], rtol=0, atol=0.1)
    others = np.arange(len(COLUMNS)) != pressure
    assert np.allclose(found[:, others], expected[:, others], rtol=1e-5, atol=1e-6)
    assert np.abs(expected[:, pressure]).max() > 100
    if name == "npt":
        assert np.ptp(tables["socket"][:, COLUMNS.index("volume")]) > 0


def test_ipi_over_tcp_with_batches_and_a_thermostat(tmp_path, world):
    from test_serving import free_port

    write(tmp_path / "init.xyz", copper(), format="ipi")
    port = free_port()
    text = simulation("pimd", "127.0.0.1").replace('mode="unix"', 'mode="inet"')
    text = text.replace("<latency>", f"<port>{port}</port><batch_size>4</batch_size><latency>")
    with ipi(tmp_path, text, world):
        serve(world, "snap", tmp_path / "init.xyz", "--port", str(port))
    found = table(tmp_path / "pimd.out")
    assert len(found) == 21 and np.isfinite(found).all()
    frames = read(tmp_path / "pimd.pos_0.xyz", index=":", format="ipi")
    assert len(frames) == 5 and frames[0].get_chemical_formula() == "Cu32"
    assert np.allclose(frames[0].cell.lengths(), copper().cell.lengths(), atol=1e-4)


def test_nvt_writes_the_models_other_properties(tmp_path, world):
    """SNAP's energies of the atoms, as extras."""
    write(tmp_path / "init.xyz", copper(), format="ipi")
    extra = '<trajectory stride="20" filename="energies" extra_type="energies">extras</trajectory>'
    address = f"rootstock-{os.getpid()}"
    text = simulation("nvt", address, **{"</output>": f"{extra}</output>"})
    with ipi(tmp_path, text, world):
        serve(world, "snap", tmp_path / "init.xyz", "--unix", address)
    potential = table(tmp_path / "nvt.out")[0, COLUMNS.index("potential")]
    (written,) = tmp_path.glob("nvt.energies_0")
    energies = numbers(written)[:32]
    assert energies.sum() / units.Hartree == pytest.approx(potential, rel=1e-6)


def test_a_committee_is_what_ipis_ffcommittee_reads(tmp_path, world):
    write(tmp_path / "init.xyz", copper(), format="ipi")
    address = f"rootstock-{os.getpid()}"
    text = simulation("nve", address)
    text = text.replace('<ffsocket name="model"', '<ffcommittee name="model"><ffsocket name="one"')
    text = text.replace("</ffsocket>", "</ffsocket><parse_json>True</parse_json></ffcommittee>")
    extra = '<trajectory filename="pots" extra_type="committee_pot">extras</trajectory>'
    text = text.replace("</output>", f"{extra}</output>")
    with ipi(tmp_path, text, world):
        serve(world, "probe-committee", tmp_path / "init.xyz", "--unix", address)
    potential = table(tmp_path / "nve.out")[0, COLUMNS.index("potential")]
    (written,) = tmp_path.glob("nve.pots_0")
    members = numbers(written)[:3]
    assert np.ptp(members) > 0
    assert members.mean() == pytest.approx(potential, rel=1e-6)


def test_rootstock_drives_ipis_python_driver():
    name = f"rootstock-{os.getpid()}"
    command = [str(BIN / "i-pi-driver-py"), "-u", "-a", name, "-m", "harmonic", "-o", "1.0"]
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]], cell=[10, 10, 10], pbc=True)
    with IPICalculator(unix=name, command=[sys.executable, *command], timeout=60) as calc:
        atoms.calc = calc
        for z in (1.0, 1.5):
            atoms.positions[1, 2] = z
            # i-PI's harmonic: k/2 x**2 and -k x, in atomic units
            hartree = 27.211386024367243
            bohr = 0.5291772105638411
            assert atoms.get_potential_energy() == pytest.approx(hartree / 2 * (z / bohr) ** 2)
            assert atoms.get_forces()[1, 2] == pytest.approx(-hartree * z / bohr**2)


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
            for one in (atoms, reference):
                one.positions[3] += [0.1 * turn, 0, 0.05]
                one.set_cell(one.cell * (1 + 0.005 * turn), scale_atoms=True)
            found, expected = atoms.get_forces(), reference.get_forces()
            assert np.abs(expected).max() > 0.01
            assert np.allclose(found, expected, atol=1e-5)
            assert np.allclose(atoms.get_stress(), reference.get_stress(), atol=1e-6)


# --- LAMMPS drives ----------------------------------------------------------------------------------


@pytest.fixture
def lammps():
    made = []

    def one(unit: str = "metal"):
        lmp = start_lammps()
        lmp.command(f"units {unit}")
        made.append(lmp)
        return lmp

    yield one
    for lmp in made:
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
    forces.command("run 5")  # and it goes on
    assert np.isfinite(lmp.get_thermo("pe"))


def test_what_lammps_refuses(lammps, probe_root):
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    lmp = lammps()
    create_atoms(lmp, atoms)
    for elements in (["Cu", "Ag"], "Cu", ["Xy"], []):
        with pytest.raises(ConfigurationError):
            ModelForces(lmp, EMT(), elements)
    other = lammps("lj")
    with pytest.raises(ConfigurationError, match="metal and real"):
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


def test_more_than_one_rank_is_refused(world):
    mpiexec = BIN / "mpiexec"
    done = subprocess.run(
        [mpiexec, "-n", "2", sys.executable, "-c", RANKS],
        env=world,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.count("LAMMPS runs on 2 MPI ranks") == 2, done.stdout + done.stderr


# --- ASE's registries -------------------------------------------------------------------------------


def test_ase_finds_it_by_name(world, tmp_path):
    write(tmp_path / "cu.json", bulk("Cu"))
    code = (
        "import ase.io\n"
        "from ase.calculators.calculator import get_calculator_class\n"
        "calc = get_calculator_class('rootstock')(model='probe-emt', device='cpu')\n"
        "print(type(calc).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=world, capture_output=True, text=True, check=True
    )
    assert done.stdout == "RootstockCalculator\n"
    command = [BIN / "ase", "run", "rootstock", "cu.json"]
    done = subprocess.run(
        [*command, "-p", 'model="probe-emt",device="cpu"', "-o", "out.json"],
        cwd=tmp_path,
        env=world,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    atoms = bulk("Cu")
    atoms.calc = EMT()
    assert read(tmp_path / "out.json").get_potential_energy() == pytest.approx(
        atoms.get_potential_energy()
    )
