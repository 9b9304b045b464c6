"""ASE's registries and its command line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.io import read, write

from tests.support.paths import BIN

pytestmark = pytest.mark.model


def test_ase_finds_it_by_name(user_variables, tmp_path):
    write(tmp_path / "cu.json", bulk("Cu"))
    code = (
        "import ase.io\n"
        "from ase.calculators.calculator import get_calculator_class\n"
        "calc = get_calculator_class('rootstock')(model='probe-emt', device='cpu')\n"
        "print(type(calc).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=user_variables, capture_output=True, text=True, check=True
    )
    assert done.stdout == "RootstockCalculator\n"
    command = [BIN / "ase", "run", "rootstock", "cu.json"]
    done = subprocess.run(
        [*command, "-p", 'model="probe-emt",device="cpu"', "-o", "out.json"],
        cwd=tmp_path,
        env=user_variables,
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
