"""The probe models that fail on request."""

from __future__ import annotations


def crashing(make, failure: str, when: str, **limits):
    """Return a calculator whose model fails in its setup, in its n-th call or at its end."""
    return make("probe-crash", setup_kwargs={"failure": failure, "when": when}, **limits)


def ask(atoms, action: str) -> float:
    """Return the energy from a model that performs an action first."""
    atoms.info["do"] = action
    return atoms.get_potential_energy()


def works(atoms) -> bool:
    """Tell if the next call gives the right energy."""
    atoms.positions += 0.5
    return ask(atoms, "") == atoms.positions.sum()
