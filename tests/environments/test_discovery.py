"""Where environment files are found: in the root, in the catalogue, or at an explicit path."""

from __future__ import annotations

import pytest

from rootstock import RootstockCalculator, available, find_root
from rootstock.environments.model_strings import resolve
from tests.support.comparisons import reference_results
from tests.support.environment_files import write_environment_file
from tests.support.paths import PROBE
from tests.support.structures import copper


def test_the_roots_file_comes_before_the_catalogues(tmp_path):
    root = find_root(tmp_path)
    assert resolve("chgnet", root)[0].file.origin == "catalogue"
    write_environment_file(tmp_path / "environments", "chgnet")
    assert resolve("chgnet", root)[0].file.path == (root.writable.environments / "chgnet_env.py")


def test_every_file_of_the_catalogue_is_valid(tmp_path):
    entries = {a.name: a for a in available(find_root(tmp_path))}
    assert {"chgnet", "emt", "mace", "sevennet", "snap"} <= entries.keys()
    for entry in entries.values():
        assert not entry.problem
        assert entry.file.models
        assert "Licence" in entry.path.read_text()


def test_an_environment_file_is_used_unchanged(probe_root, tmp_path):
    file = tmp_path / "ase.py"  # a name that must not shadow the package
    file.write_bytes(PROBE.read_bytes())
    atoms = copper()
    with RootstockCalculator(environment=file, model="reference", device="cpu") as calc:
        atoms.calc = calc
        assert atoms.get_potential_energy() == reference_results(atoms, "energy")["energy"]
        assert not list(tmp_path.glob("*.lock"))


@pytest.mark.model
def test_an_environment_file_and_a_root(probe_root, tmp_path):
    file = tmp_path / "my models.py"
    file.write_bytes(PROBE.read_bytes())
    with RootstockCalculator(environment=file, model="null", root=probe_root, device="cpu") as calc:
        calc.calculate(copper())
        assert calc.provenance.environment == "my models"
    assert list(tmp_path.iterdir()) == [file]
