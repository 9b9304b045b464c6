"""Results are the model's own, bit for bit, and are cached until the structure changes."""

from __future__ import annotations

import os
import signal

import ase.calculators.calculator as asecalc
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rootstock.errors import PropertyMissingError
from tests.support.comparisons import identical, reference_results
from tests.support.probe_env import Reference
from tests.support.strategies import any_atoms, many_atoms
from tests.support.structures import copper


@settings(deadline=None, max_examples=60, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.one_of(any_atoms(), many_atoms()))
def test_all_inputs_and_all_results_are_transferred(reference, atoms):
    reference.calculate(atoms, ["energy"])
    expected = reference_results(atoms, "energy")
    results = {k: v for k, v in reference.results.items() if k != "changes"}
    assert results.keys() == expected.keys()
    for name, value in expected.items():
        assert identical(results[name], value), name


def test_every_getter_of_ase_returns_the_models_value(reference):
    remote, local = copper(), copper()
    for atoms in (remote, local):
        atoms.set_initial_magnetic_moments([0.5] * 8)
    remote.calc, local.calc = reference, Reference()
    for getter in (
        "get_potential_energy",
        "get_forces",
        "get_stress",
        "get_charges",
        "get_magnetic_moments",
    ):
        assert identical(getattr(remote, getter)(), getattr(local, getter)()), getter
    assert remote.get_potential_energy(force_consistent=True) == local.get_potential_energy(
        force_consistent=True
    )
    with pytest.raises(asecalc.PropertyNotImplementedError):
        remote.get_dipole_moment()
    with pytest.raises(PropertyMissingError, match="'dipole'"):
        remote.get_dipole_moment()


CHANGES = {
    "positions": lambda a: a.positions.__setitem__((0, 0), 9.0),
    "numbers": lambda a: a.numbers.__setitem__(1, 29 - 10),
    "cell": lambda a: a.set_cell(a.cell * 1.01),
    "pbc": lambda a: a.set_pbc((True, False, True)),
    "initial_charges": lambda a: a.set_initial_charges([1.0] * len(a)),
    "initial_magmoms": lambda a: a.set_initial_magnetic_moments([1.0] * len(a)),
    "tags": lambda a: a.set_tags([2] * len(a)),
    "info": lambda a: a.info.update(charge=1),
    "custom": lambda a: a.set_array("custom", np.ones(len(a))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_detected_and_no_other(reference, change):
    atoms = copper()
    atoms.calc = reference
    before = atoms.get_potential_energy()
    assert reference.check_state(atoms) == []
    CHANGES[change](atoms)
    changes = reference.check_state(atoms)
    assert changes == ([change] if change not in ("tags", "custom") else ["info"])
    assert atoms.get_potential_energy() == reference_results(atoms, "energy")["energy"] != before


def test_the_model_gets_the_changes_by_ases_names(reference):
    atoms = copper()
    atoms.calc = reference
    atoms.get_forces()
    received = []
    for change in ("positions", "cell", "numbers", "pbc", "initial_charges", "info"):
        CHANGES[change](atoms)
        atoms.get_forces()
        received.append(reference.results["changes"])
    other = copper(1)
    other.calc = reference
    other.get_forces()
    assert received == [
        ["positions"],
        ["positions", "cell"],
        ["positions", "numbers"],
        ["positions", "pbc"],
        ["positions", "initial_charges"],
        ["positions"],
    ]
    assert reference.results["changes"] == [
        "positions",
        "numbers",
        "cell",
        "pbc",
        "initial_charges",
    ]


def test_a_cached_result_needs_no_call_and_is_a_copy(make):
    calc = make("probe-misbehaving")
    atoms = copper()
    atoms.calc = calc
    forces = atoms.get_forces()
    forces += 1
    os.kill(calc.report.pid, signal.SIGKILL)  # the worker is not called again
    assert not atoms.get_forces().any()
    assert atoms.get_potential_energy() == atoms.positions.sum()


def test_momenta_leave_the_results_valid(make):
    atoms = copper()
    atoms.calc = calc = make()
    atoms.get_forces()
    atoms.set_momenta(np.ones((8, 3)))
    assert calc.check_state(atoms) == []
