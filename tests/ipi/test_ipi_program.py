"""The program i-PI, as a server and as a client."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.io import read, write

from rootstock import IPICalculator
from tests.support.paths import BIN, REPO
from tests.support.structures import copper

pytestmark = pytest.mark.model


INPUTS = REPO / "examples" / "ipi"


def simulation(name: str, address: str, **replaced: str) -> str:
    """Return an example's input with another address and other replacements."""
    text = (INPUTS / f"{name}.xml").read_text()
    for old, new in {"<address>rootstock": f"<address>{address}", **replaced}.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def ipi(folder: Path, text: str, user_variables):
    """Run i-PI; it must end by itself and without an error."""
    (folder / "input.xml").write_text(text)
    process = subprocess.Popen(
        [BIN / "i-pi", "input.xml"],
        cwd=folder,
        env=user_variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output[-3000:]
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def serve(user_variables, model: str, structure: Path, *options: str) -> list[dict]:
    """Run the command to its end; return its JSON lines."""
    command = [sys.executable, "-m", "rootstock", "serve", model, "--json", "--threads", "1"]
    command += ["--structure", structure, "--device", "cpu", *options]
    done = subprocess.run(
        list(map(str, command)),
        env=user_variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def table(path: Path) -> np.ndarray:
    return np.loadtxt(path)


def numbers(extras: Path) -> np.ndarray:
    """Return the numbers in a file of extras that i-PI wrote."""
    rows = [line for line in extras.read_text().splitlines() if "#EXTRAS" not in line]
    return np.array(" ".join(rows).split(), float)


COLUMNS = ["step", "time", "conserved", "temperature", "potential", "pressure", "volume"]
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
def test_ipi_gets_the_same_energies_as_directly(tmp_path, user_variables, name, consolidated):
    """Through a socket and through i-PI's own ASE driver; NPT depends on the virial."""
    tables = {}
    for route in ("socket", "direct"):
        folder = tmp_path / route
        folder.mkdir()
        write(folder / "init.xyz", copper(2, 2, 2, rattle=0.02), format="ipi")
        address = f"rootstock-{os.getpid()}"
        text = simulation(name, address)
        if route == "direct":
            (folder / "direct.py").write_text(DIRECT)
            forcefield = (
                "<ffdirect name='model' pbc='false'><pes>custom</pes><pes_path>direct.py</pes_path>"
                "<parameters>{template: init.xyz}</parameters></ffdirect>"
            )
            text = re.sub(r"<ffsocket.*?</ffsocket>", forcefield, text, flags=re.DOTALL)
            with ipi(folder, text, user_variables):
                pass
        else:
            setting = f"</latency><consolidate_messages>{consolidated}</consolidate_messages>"
            text = text.replace("</latency>", setting)
            with ipi(folder, text, user_variables):
                workers = 2 if name == "pimd" else 1
                options = ["--unix", address, "--count", str(workers)]
                lines = serve(user_variables, "probe-emt", folder / "init.xyz", *options)
                steps = [client["steps"] for client in lines[-1]["clients"]]
                beads = 4 if name == "pimd" else 1
                assert sum(steps) >= 21 * beads and all(steps)
        tables[route] = table(folder / f"{name}.out")
    assert len(tables["socket"]) == 21
    # i-PI's own Å is 7e-8 short of ASE's, the only difference. In copper this strain is a pressure
    # of 0.03 MPa.
    pressure = COLUMNS.index("pressure")
    result, expected = (tables[route] for route in ("socket", "direct"))
    assert np.allclose(result[:, pressure], expected[:, pressure], rtol=0, atol=0.1)
    others = np.arange(len(COLUMNS)) != pressure
    assert np.allclose(result[:, others], expected[:, others], rtol=1e-5, atol=1e-6)
    assert np.abs(expected[:, pressure]).max() > 100
    if name == "npt":
        assert np.ptp(tables["socket"][:, COLUMNS.index("volume")]) > 0


def test_ipi_over_tcp_with_batches_and_a_thermostat(tmp_path, user_variables):
    from tests.support.ports import free_port

    write(tmp_path / "init.xyz", copper(2, 2, 2, rattle=0.02), format="ipi")
    port = free_port()
    text = simulation("pimd", "127.0.0.1").replace('mode="unix"', 'mode="inet"')
    text = text.replace("<latency>", f"<port>{port}</port><batch_size>4</batch_size><latency>")
    with ipi(tmp_path, text, user_variables):
        serve(user_variables, "snap", tmp_path / "init.xyz", "--port", str(port))
    result = table(tmp_path / "pimd.out")
    assert len(result) == 21 and np.isfinite(result).all()
    frames = read(tmp_path / "pimd.pos_0.xyz", index=":", format="ipi")
    assert len(frames) == 5 and frames[0].get_chemical_formula() == "Cu32"
    assert np.allclose(
        frames[0].cell.lengths(), copper(2, 2, 2, rattle=0.02).cell.lengths(), atol=1e-4
    )


def test_nvt_writes_the_models_other_properties(tmp_path, user_variables):
    """SNAP's energies of the single atoms, as extras."""
    write(tmp_path / "init.xyz", copper(2, 2, 2, rattle=0.02), format="ipi")
    extra = '<trajectory stride="20" filename="energies" extra_type="energies">extras</trajectory>'
    address = f"rootstock-{os.getpid()}"
    text = simulation("nvt", address, **{"</output>": f"{extra}</output>"})
    with ipi(tmp_path, text, user_variables):
        serve(user_variables, "snap", tmp_path / "init.xyz", "--unix", address)
    potential = table(tmp_path / "nvt.out")[0, COLUMNS.index("potential")]
    (written,) = tmp_path.glob("nvt.energies_0")
    energies = numbers(written)[:32]
    assert energies.sum() / units.Hartree == pytest.approx(potential, rel=1e-6)


def test_ipis_ffcommittee_reads_a_committee(tmp_path, user_variables):
    write(tmp_path / "init.xyz", copper(2, 2, 2, rattle=0.02), format="ipi")
    address = f"rootstock-{os.getpid()}"
    text = simulation("nve", address)
    text = text.replace('<ffsocket name="model"', '<ffcommittee name="model"><ffsocket name="one"')
    text = text.replace("</ffsocket>", "</ffsocket><parse_json>True</parse_json></ffcommittee>")
    extra = '<trajectory filename="pots" extra_type="committee_pot">extras</trajectory>'
    text = text.replace("</output>", f"{extra}</output>")
    with ipi(tmp_path, text, user_variables):
        serve(user_variables, "probe-committee", tmp_path / "init.xyz", "--unix", address)
    potential = table(tmp_path / "nve.out")[0, COLUMNS.index("potential")]
    (written,) = tmp_path.glob("nve.pots_0")
    members = numbers(written)[:3]
    assert np.ptp(members) > 0
    assert members.mean() == pytest.approx(potential, rel=1e-6)


def test_a_committee_of_ours_with_a_weighted_baseline(tmp_path, user_variables):
    """i-PI weights the committee by its disagreement (Imbalzano et al. 2021)."""
    write(tmp_path / "init.xyz", copper(2, 2, 2, rattle=0.02), format="ipi")
    address = f"rootstock-{os.getpid()}"
    text = simulation("nve", address)
    text = text.replace('<ffsocket name="model"', '<ffcommittee name="model"><ffsocket name="ours"')
    baseline = (
        "<ffdirect name='base' pbc='false'><pes>dummy</pes></ffdirect><parse_json>True</parse_json>"
        "<baseline_name>base</baseline_name><baseline_uncertainty>0.01</baseline_uncertainty>"
    )
    text = text.replace("</ffsocket>", f"</ffsocket>{baseline}</ffcommittee>")
    extras = "".join(
        f'<trajectory filename="{name}" extra_type="{name}">extras</trajectory>'
        for name in ("committee_pot", "committee_uncertainty")
    )
    text = text.replace("</output>", f"{extras}</output>")
    with ipi(tmp_path, text, user_variables):
        models = "--committee=probe-emt,snap-Cu"
        serve(user_variables, models, tmp_path / "init.xyz", "--unix", address)
    potential = table(tmp_path / "nve.out")[:, COLUMNS.index("potential")]
    members = numbers(tmp_path / "nve.committee_pot_0").reshape(-1, 2)
    spread = numbers(tmp_path / "nve.committee_uncertainty_0")
    assert np.ptp(members[0]) < 1e-9 < np.ptp(members[-1])  # on one scale from the first step on
    weighted = members.mean(axis=1) * 0.01**2 / (0.01**2 + spread**2)
    np.testing.assert_allclose(weighted[: len(potential)], potential, rtol=1e-6)


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
