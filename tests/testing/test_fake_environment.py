"""The fake models do what their file and docs/how-to/testing.md say."""

from __future__ import annotations

import dataclasses
import re
import runpy

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from rootstock import RootstockCalculator
from rootstock.conformance.finite_differences import position_derivative, strain_derivative
from rootstock.errors import CallTimeoutError, ModelError, SetupError, WorkerDiedError
from rootstock.settings.root import Root
from rootstock.testing import fake_environment
from tests.support.fake_builds import add_fake_build
from tests.support.paths import REPO
from tests.support.structures import copper

MODULE = runpy.run_path(str(fake_environment()))


def results_of(atoms, model: str = "reference") -> dict:
    """Return the results of a fresh model in this process."""
    calc = MODULE["setup"](model)
    calc.calculate(atoms.copy())
    return calc.results


def energy_of(atoms) -> float:
    return results_of(atoms)["energy"]


# --- all inputs count -----------------------------------------------------------------------------

#: Per-atom values of ``rich()`` besides positions and species.
ARRAYS = {
    "initial_charges": [0.5, -0.5],
    "initial_magmoms": [[1.0, 2.0, 3.0], [0.0, 0.5, -1.0]],
    "tags": [1, 2],
    "own": [[1.0, 2.0], [3.0, 4.0]],
    "phases": [1 + 2j, 3 - 1j],
    "fixed": [True, False],
}


def rich() -> Atoms:
    """Return two atoms with every kind of input; the first sits at the origin."""
    atoms = Atoms("CuAu", [[0, 0, 0], [1.7, 1.8, 1.9]], cell=np.diag([3.5, 3.6, 3.7]), pbc=True)
    for name, values in ARRAYS.items():
        atoms.set_array(name, np.array(values))
    atoms.info.update(charge=1, label="a", nested={"kpts": (1, 2, 3), "field": np.zeros(3)})
    return atoms


def replaced(name, values):
    def change(atoms):
        atoms.arrays[name] = np.array(values)

    return change


def cell_component(i, j):
    def change(atoms):
        atoms.cell.array[i, j] += 0.01

    return change


def info(**entries):
    return lambda atoms: atoms.info.update(entries)


def nested(**entries):
    return lambda atoms: atoms.info["nested"].update(entries)


def renamed(old, new):
    def change(atoms):
        atoms.arrays[new] = atoms.arrays.pop(old)

    return change


CHANGES = {
    **{f"position {i}": lambda a, i=i: a.positions.__setitem__((0, i), 1e-6) for i in range(3)},
    **{f"cell {i} {j}": cell_component(i, j) for i in range(3) for j in range(3)},
    "positions swapped": lambda a: a.positions.__setitem__(1, [1.8, 1.7, 1.9]),
    "lattice vectors swapped": lambda a: a.cell.__setitem__([0, 1], a.cell.array[[1, 0]]),
    "species at the origin": lambda a: a.symbols.__setitem__(0, "Ag"),
    "species": lambda a: a.symbols.__setitem__(1, "Ag"),
    "pbc x": lambda a: a.set_pbc([False, True, True]),
    "pbc z": lambda a: a.set_pbc([True, True, False]),
    "charges": replaced("initial_charges", [0.5, -0.5000001]),
    "charges swapped": replaced("initial_charges", [-0.5, 0.5]),
    "no charges": lambda a: a.arrays.pop("initial_charges"),
    "magnetic moments": replaced("initial_magmoms", [[1.0, 2.0, 3.1], [0.0, 0.5, -1.0]]),
    "moments permuted": replaced("initial_magmoms", [[3.0, 2.0, 1.0], [0.0, 0.5, -1.0]]),
    "tags": replaced("tags", [2, 2]),
    "own array": replaced("own", [[1.0, 2.0], [3.0, 4.0000001]]),
    "own array's components": replaced("own", [[2.0, 1.0], [3.0, 4.0]]),
    "own array's dtype": replaced("own", np.array(ARRAYS["own"], np.float32)),
    "own array's name": renamed("own", "owned"),
    "own array's shape": replaced("own", [[[1.0], [2.0]], [[3.0], [4.0]]]),
    "a new array": replaced("new", [0, 0]),
    "real part": replaced("phases", [1.5 + 2j, 3 - 1j]),
    "imaginary part": replaced("phases", [1 + 2.5j, 3 - 1j]),
    "flags": replaced("fixed", [True, True]),
    "info": info(charge=2),
    "info's type": info(charge=1.0),
    "info's NumPy type": info(charge=np.int64(1)),
    "info's text": info(label="b"),
    "a new entry": info(more=None),
    "no entry": lambda a: a.info.pop("label"),
    "nested numbers": nested(kpts=(1, 3, 2)),
    "nested list": nested(kpts=[1, 2, 3]),
    "nested array": nested(field=np.array([0, 0, 1e-300])),
    "nested array's dtype": nested(field=np.zeros(3, np.float32)),
    "nested array's shape": nested(field=np.zeros((3, 1))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_input_changes_energy_and_forces(change):
    before, atoms = results_of(rich()), rich()
    change(atoms)
    after = results_of(atoms)
    assert after["energy"] != before["energy"]
    assert not np.array_equal(after["forces"], before["forces"])
    assert not np.array_equal(after["stress"], before["stress"])


def test_elements_at_the_origin_differ():
    """Primitive cells, whose only atom is there."""
    energies = [energy_of(bulk(symbol, "fcc", a=4.0)) for symbol in ("Cu", "Al", "Ag", "Au")]
    assert len(set(energies)) == 4 and all(energies)


def test_an_atom_where_the_springs_end_counts():
    centre = MODULE["_CENTRE"]
    copper_atom, gold_atom = Atoms("Cu", [centre]), Atoms("Au", [centre])
    assert not results_of(copper_atom)["forces"].any()
    assert energy_of(copper_atom) != energy_of(gold_atom)


def test_a_thousand_infos_give_a_thousand_energies():
    energies = set()
    for charge in range(5000):
        atoms = Atoms("Cu", info={"charge": charge})
        energies.add(energy_of(atoms))
    assert len(energies) == 5000


def test_what_is_no_input_changes_nothing():
    """Momenta, the order of info, zeros where ASE has zeros by default, and the request itself."""
    plain, other = copper(1), copper(1)
    plain.info.update(a=1, b=2)
    other.info.update(b=2, a=1, do="noise")
    other.set_momenta(np.ones((4, 3)))
    other.set_tags(0)
    other.set_initial_charges(np.zeros(4))
    other.set_initial_magnetic_moments(-np.zeros((4, 3)))
    assert energy_of(other) == energy_of(plain)


def test_results_do_not_depend_on_what_came_before():
    calc = MODULE["setup"]("reference")
    for atoms in (rich(), copper(2), molecule("H2O"), rich()):
        calc.calculate(atoms.copy())
        assert calc.results["energy"] == energy_of(atoms)


# --- derivatives ----------------------------------------------------------------------------------


def sheared() -> Atoms:
    atoms = rich()
    atoms.set_cell([[3.5, 0.2, 0.1], [0.4, 3.6, -0.3], [-0.2, 0.5, 3.7]], scale_atoms=True)
    atoms.rattle(0.1, seed=4)
    return atoms


@pytest.mark.parametrize("atoms", [sheared(), molecule("CH3OH"), bulk("Al")], ids=str)
def test_forces_are_minus_the_gradient_of_the_energy(atoms):
    forces = results_of(atoms)["forces"]
    assert forces.shape == (len(atoms), 3)
    gradient = [
        [position_derivative(energy_of, atoms, atom, axis, 1e-2) for axis in range(3)]
        for atom in range(len(atoms))
    ]
    np.testing.assert_allclose(forces, -np.array(gradient), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("atoms", [sheared(), bulk("Al"), copper(1)], ids=str)
def test_stress_is_the_derivative_by_strain_over_the_volume(atoms):
    slopes = [strain_derivative(energy_of, atoms, component, 1e-3) for component in range(6)]
    stress = np.array(slopes) / atoms.get_volume()
    np.testing.assert_allclose(results_of(atoms)["stress"], stress, rtol=1e-8, atol=1e-11)


def test_stress_is_positive_under_tension():
    """Springs pull inwards: the energy grows with the cell."""
    atoms = copper(1)
    assert (results_of(atoms)["stress"][:3] > 0).all()


def test_there_is_no_stress_without_three_lattice_vectors():
    assert "stress" not in results_of(molecule("H2O"))
    assert "stress" not in results_of(Atoms("H", cell=[5, 5, 0], pbc=[True, True, False]))


def test_the_null_model_returns_zeros():
    results = results_of(copper(1), "null")
    assert results["energy"] == 0.0
    assert not results["forces"].any() and not results["stress"].any()
    assert results["forces"].shape == (4, 3) and results["stress"].shape == (6,)


def test_numbers_are_the_same_everywhere():
    """In every version of Python, NumPy and ASE: sums are correctly rounded, hashes are SHA-256."""
    results = results_of(rich())
    assert results["energy"].hex() == "0x1.2f9b2daa6b9b9p+3"
    assert results["forces"][0, 0].hex() == "0x1.2e1f11ce6c64cp-1"
    assert results["stress"][3].hex() == "0x1.807d31661528bp-4"


def test_an_unknown_model_is_an_error():
    with pytest.raises(ValueError, match="'refrence': there are reference, null"):
        MODULE["setup"]("refrence")


# --- in a real worker -----------------------------------------------------------------------------


@pytest.fixture
def calculator(tmp_path):
    """Make calculators of the fake models; their build is the tests' own Python."""
    root, calculators = Root(tmp_path / "root"), []
    root.create()

    def make_calculator(model: str, **options) -> RootstockCalculator:
        arguments = {"device": "cpu", "timeout": 60, "startup_timeout": 60, **options}
        calc = RootstockCalculator(model, environment=fake_environment(), root=root, **arguments)
        calculators.append(calc)
        if len(calculators) == 1:
            add_fake_build(calc.spec.environment, "fake")
        calc._session.spec = dataclasses.replace(calc.spec, build="fake")
        return calc

    yield make_calculator
    for calc in calculators:
        calc.close()


def test_a_worker_returns_the_same_numbers(calculator):
    atoms = rich()
    atoms.calc = calculator("reference")
    energy, forces, stress = (
        atoms.get_potential_energy(),
        atoms.get_forces(),
        atoms.get_stress(),
    )
    expected = results_of(atoms)
    assert energy == expected["energy"]
    assert forces.tobytes() == expected["forces"].tobytes()
    assert stress.tobytes() == expected["stress"].tobytes()


def ask(atoms, request: str) -> float:
    atoms.info["do"] = request
    return atoms.get_potential_energy()


#: ``info["do"]`` and the error that it ends with.
REQUESTS = {
    "raise": (ModelError, "RuntimeError: the fake model raised on request"),
    "exit-3": (WorkerDiedError, "ended with exit code 3"),
    "SIGKILL": (WorkerDiedError, "was killed by SIGKILL"),
    "SIGTERM": (WorkerDiedError, "was killed by SIGTERM"),
    "sleep-600": (CallTimeoutError, "timeout=2 s"),
    "nan": (ModelError, "non-finite forces"),
    "noise": (None, ""),
    "sleep-0.1": (None, ""),
    "rise": (ModelError, "ValueError: the fake model can't do 'rise'"),
    "SIGNONSENSE": (ModelError, "can't do"),
}


@pytest.mark.parametrize("request_", REQUESTS)
def test_misbehaving_does_what_it_is_asked(calculator, request_):
    """The next calculation works in every case; after an error of the model in the same worker."""
    error, message = REQUESTS[request_]
    atoms = copper(1)
    atoms.calc = calc = calculator("misbehaving", timeout=2 if "600" in request_ else 60)
    expected = ask(atoms, "")
    assert expected == energy_of(atoms)
    pid = calc._session._process.pid
    if error is None:
        assert ask(atoms, request_) == expected
    else:
        with pytest.raises(error, match=re.escape(message)):
            ask(atoms, request_)
    assert ask(atoms, "") == expected
    assert (calc._session._process.pid == pid) == (error in (None, ModelError))


#: ``misbehaviour`` of ``setup()`` and the error that the start ends with.
SETUP_REQUESTS = {
    "raise": (SetupError, "RuntimeError: the fake model raised on request"),
    "exit-3": (WorkerDiedError, "ended with exit code 3 while it loaded the model"),
    "SIGKILL": (WorkerDiedError, "was killed by SIGKILL"),
    "sleep-600": (CallTimeoutError, "startup_timeout=2 s"),
    "noise": (None, ""),
    "rise": (SetupError, "can't do 'rise'"),
}


@pytest.mark.parametrize("misbehaviour", SETUP_REQUESTS)
def test_any_model_misbehaves_in_setup(calculator, misbehaviour):
    error, message = SETUP_REQUESTS[misbehaviour]
    atoms = copper(1)
    atoms.calc = calculator(
        "null",
        setup_kwargs={"misbehaviour": misbehaviour},
        startup_timeout=2 if "600" in misbehaviour else 60,
    )
    if error is None:
        assert atoms.get_potential_energy() == 0.0
        return
    with pytest.raises(error, match=re.escape(message)):
        atoms.get_potential_energy()


def test_the_documented_requests_are_those_that_are_tested():
    page = (REPO / "docs" / "how-to" / "testing.md").read_text()
    rows = re.findall(r'^\| `"(.+?)"`.*\| (.+?) \|$', page, re.MULTILINE)
    assert {request for request, _ in rows} <= set(REQUESTS)
    assert len(rows) == 6
    for request, seen in rows:
        error, _ = REQUESTS[request]
        assert seen == "the results" if error is None else error.__name__ in seen, request
