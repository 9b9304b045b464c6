"""Real models: results through Rootstock against those of the model in its own environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from rootstock import BuildError, RootstockCalculator, find_root
from rootstock.environments.build import prepare_environment
from rootstock.environments.discovery import environment_from_file
from rootstock.environments.environment import Environment
from rootstock.environments.environment_file import read_environment_file
from rootstock.errors import ModelError, SetupError
from tests.support import direct
from tests.support.comparisons import identical
from tests.support.models import Model, python_of
from tests.support.paths import REPO

pytestmark = pytest.mark.model


ENERGY, FORCES, STRESS = "get_potential_energy", "get_forces", "get_stress"


@pytest.fixture(scope="module")
def models(torch_root):
    """Return a function that opens models; all are closed at the end."""
    cache: dict[tuple, Model] = {}

    def model(text: str, **options) -> Model:
        arguments = (text, repr(options))
        if arguments not in cache:
            cache[arguments] = Model(text, torch_root, options)
        return cache[arguments]

    yield model
    for opened in cache.values():
        opened.calc.close()


def copper() -> Atoms:
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (2, 1, 1)
    atoms.rattle(0.05, seed=1)
    return atoms


def salt() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.05, seed=1)
    return atoms


def configurations(atoms: Atoms, element: str, *, pbc: bool = True) -> list[Atoms]:
    """Return a trajectory of 20, then other species, another cell, other pbc, another size."""
    rng = np.random.default_rng(5)
    frames = []
    for _ in range(20):
        atoms = atoms.copy()
        atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
        frames.append(atoms)
    atoms = atoms.copy()
    atoms.symbols[0] = element
    frames.append(atoms)
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell * [[1.02], [0.99], [1.01]], scale_atoms=True)
    frames.append(atoms)
    if pbc:
        atoms = atoms.copy()
        atoms.center(vacuum=3.0, axis=2)
        atoms.pbc = (True, True, False)
        frames.append(atoms)
    frames.append(atoms.repeat((2, 1, 1)))
    return frames


CASES = {
    "chgnet": (
        "chgnet",
        {"return_site_energies": True},
        salt,
        "K",
        [ENERGY, FORCES, STRESS, "get_magnetic_moments", "get_potential_energies"],
    ),
    "chgnet-r2scan": (
        "chgnet-r2scan",
        {},
        copper,
        "Ag",
        [ENERGY, FORCES, STRESS, "get_magnetic_moments"],
    ),
    "sevennet": ("sevennet", {}, salt, "K", [ENERGY, FORCES, STRESS, "get_potential_energies"]),
    "sevennet-mf": (
        "sevennet-7net-mf-0",
        {"modal": "R2SCAN"},
        copper,
        "Ag",
        [ENERGY, FORCES, STRESS],
    ),
    "snap": ("snap", {}, copper, "Cu", [FORCES, ENERGY, STRESS, "get_potential_energies"]),
    "snap-InP": (
        "snap-InP",
        {},
        lambda: bulk("InP", "zincblende", a=5.83),
        "P",
        [ENERGY, FORCES, STRESS],
    ),
    "snap-Ta-pod": ("snap-Ta-pod", {}, lambda: bulk("Ta", cubic=True), "Ta", [ENERGY, FORCES]),
    "emt": ("emt", {}, copper, "Ag", [ENERGY, FORCES, STRESS, "get_potential_energies"]),
}


@pytest.mark.parametrize("case", CASES)
def test_results_equal_the_models_own_bit_for_bit(models, tmp_path, case):
    text, options, make, element, getters = CASES[case]
    model = models(text, **options)
    frames = configurations(make(), element)
    expected_results = model.direct(
        tmp_path, structures=[direct.pack(a) for a in frames], getters=getters
    )
    for number, (atoms, expected) in enumerate(zip(frames, expected_results, strict=True)):
        result = direct.evaluate(atoms.copy(), model.calc, getters)
        for kind in ("getters", "results"):
            assert result[kind].keys() == expected[kind].keys()
            for name, value in expected[kind].items():
                assert identical(result[kind][name], value), f"{name} of configuration {number}"


def test_a_molecule_equals_the_model(models, tmp_path):
    atoms = molecule("CH3CH2OH", vacuum=4)
    model = models("sevennet")
    expected = model.direct(tmp_path, structures=[direct.pack(atoms)], getters=[ENERGY, FORCES])[0]
    result = direct.evaluate(atoms, model.calc, [ENERGY, FORCES])
    assert all(identical(result["getters"][k], v) for k, v in expected["getters"].items())


@pytest.mark.parametrize(
    ("text", "make", "settings"),
    [
        ("snap", copper, {"method": "bfgs", "steps": 40}),
        ("snap", copper, {"method": "cell", "steps": 40}),
        ("snap", copper, {"method": "md", "steps": 100}),
        ("chgnet", copper, {"method": "cell", "steps": 6}),
        ("chgnet", copper, {"method": "md", "steps": 8}),
        ("sevennet", salt, {"method": "bfgs", "steps": 6}),
    ],
)
def test_relaxation_and_dynamics_follow_the_same_path(models, tmp_path, text, make, settings):
    model = models(text)
    expected = model.direct(tmp_path, structures=[direct.pack(make())], drive=settings)
    trajectory = direct.drive(make(), model.calc, settings)
    assert len(trajectory) == len(expected)
    for (x, cell, energy), (x2, cell2, energy2) in zip(trajectory, expected, strict=True):
        # the optimiser itself may run under another NumPy than the model: not bit for bit
        assert np.allclose(x, x2, rtol=0, atol=1e-7)
        assert np.allclose(cell, cell2, rtol=0, atol=1e-7)
        assert energy == pytest.approx(energy2, abs=1e-6)
    if settings["method"] == "md":
        drift = np.ptp([energy for _, _, energy in trajectory]) / len(x)
        assert drift < (1e-3 if text == "snap" else 5e-3)


def test_relaxed_copper_is_relaxed(models):
    steps = direct.drive(copper(), models("snap").calc, {"method": "cell", "steps": 100})
    volume = abs(np.linalg.det(steps[-1][1])) / 8
    assert (4 * volume) ** (1 / 3) == pytest.approx(3.62, abs=0.03)  # lattice constant of Cu in Å


@pytest.mark.parametrize("text", ["chgnet", "snap", "emt"])
def test_an_element_that_the_model_does_not_know(models, text):
    atoms = bulk("Po", "sc", a=3.3) if text != "chgnet" else Atoms("Og", cell=[3] * 3, pbc=True)
    calc = models(text).calc
    atoms.calc = calc
    pid = calc.report.pid
    with pytest.raises(ModelError):
        atoms.get_forces()
    good = copper()
    good.calc = calc
    assert np.isfinite(good.get_forces()).all()
    assert calc.report.pid == pid


@pytest.fixture(scope="module")
def mace_weights(torch_root, tmp_path_factory):
    """A small MACE with random weights, made inside MACE's own environment."""
    path = tmp_path_factory.mktemp("own weights") / "tiny-mace.model"
    root = find_root(torch_root)
    file = read_environment_file(_catalogue("mace"), "mace", "catalogue")
    built = prepare_environment(Environment.of(file, root))
    command = [built.python, "-I", REPO / "benchmarks" / "make_random_mace.py", path, "8"]
    subprocess.run(command, check=True, capture_output=True, cwd=path.parent)
    return path


def _catalogue(name: str) -> Path:
    import rootstock

    folder = Path(rootstock.__file__).parent / "environments" / "catalogue"
    return folder / f"{name}_env.py"


def test_mace_with_own_weights(models, mace_weights, tmp_path):
    model = models(f"mace-{mace_weights}", default_dtype="float64")
    getters = [ENERGY, FORCES, STRESS, "get_potential_energies"]
    frames = configurations(copper(), "Ag")
    expected_results = model.direct(
        tmp_path, structures=[direct.pack(a) for a in frames], getters=getters
    )
    for atoms, expected in zip(frames, expected_results, strict=True):
        result = direct.evaluate(atoms.copy(), model.calc, getters)
        for name, value in expected["results"].items():
            assert identical(result["results"][name], value), name
        assert np.abs(result["getters"][FORCES]).max() > 0


def test_mace_and_sevennet_run_side_by_side(models, mace_weights):
    atoms = copper()
    energies = []
    for text in (f"mace-{mace_weights}", "sevennet", "snap"):
        atoms.calc = models(text).calc
        energies.append(atoms.get_potential_energy())
    assert len({round(float(e), 3) for e in energies}) == 3


def test_mace_and_sevennet_cannot_be_installed_together(torch_root, tmp_path):
    file = tmp_path / "both_env.py"
    file.write_text(
        "# /// script\n# requires-python = '>=3.10'\n"
        "# dependencies = ['mace-torch==0.3.16', 'sevenn==0.13.0']\n# ///\n"
        "def setup(model, device): ...\n"
    )
    with pytest.raises(BuildError, match="e3nn") as caught:
        prepare_environment(environment_from_file(file, find_root(torch_root)))
    assert "unsatisfiable" in caught.value.output


def test_public_mace_names_get_as_far_as_the_download(models, torch_root):
    with RootstockCalculator("mace-medium", root=torch_root, device="cpu") as calc:
        try:
            calc.report
        except SetupError as error:
            assert "download" in str(error).lower()  # without a network it stops here
        else:
            atoms = copper()
            atoms.calc = calc
            assert np.isfinite(atoms.get_forces()).all()
            assert list((torch_root / "cache" / "mace").iterdir())


def test_sevennets_downloads_land_in_the_root_and_not_in_the_package(torch_root):
    with RootstockCalculator("sevennet-7net-omat", root=torch_root, device="cpu") as calc:
        try:
            calc.report
        except SetupError as error:
            assert "http" in str(error).lower() or "url" in str(error).lower()  # no network here
        python = python_of(calc)
    package = next(python.parent.parent.glob("lib/python3*/site-packages/sevenn"))
    assert not (package / "pretrained_potentials" / "SevenNet_omat").exists()
    assert (torch_root / "home" / ".cache" / "sevennet").exists()


@pytest.mark.parametrize(
    "text", ["mace-/no/such/weights.pt", "sevennet-/no/such.pth", "chgnet-9.9", "mace-mediun"]
)
def test_weights_that_do_not_exist(torch_root, text):
    with (
        RootstockCalculator(text, root=torch_root, device="cpu") as calc,
        pytest.raises(SetupError, match=r"could not be loaded"),
    ):
        calc.report


def test_the_example_of_the_issue(torch_root, tmp_path):
    script = tmp_path / "example.py"
    script.write_text(
        f"""
from ase.build import bulk
from rootstock import RootstockCalculator

atoms = bulk("Cu", "fcc", a=3.6) * (5, 5, 5)
with RootstockCalculator(root={str(torch_root)!r}, model="chgnet", device="cpu") as calc:
    atoms.calc = calc
    print(atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(), atoms.get_magnetic_moments())
"""
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("-5")
    assert done.stderr == ""
