"""The probe models that fail when they are told to."""

from __future__ import annotations


def crashing(make, what: str, when: str, **limits):
    """Return a calculator whose model fails in one way: in its setup, in its n-th call, at its end."""
    return make("probe-crash", setup_kwargs={"what": what, "when": when}, **limits)


def ask(atoms, what: str) -> float:
    """Return the energy from a model that first does what it is told."""
    atoms.info["do"] = what
    return atoms.get_potential_energy()


def works(atoms) -> bool:
    """Tell if the next call gives the right energy."""
    atoms.positions += 0.5
    return ask(atoms, "") == atoms.positions.sum()
