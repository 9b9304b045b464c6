"""ASE's properties: name, unit and shape, and the check of results against them.

Everything that depends on what a property is (tables, unit columns, checks of results, what i-PI
carries) reads this one table. Units and signs are ASE's: stress is positive under tension.

This file is loaded by the worker too, in any Python from 3.9 on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import ModelError, PropertyMissingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "MECHANICAL",
    "PROPERTIES",
    "Property",
    "check_results",
    "property_names",
    "require_properties",
    "unit_of",
]


@dataclass(frozen=True)
class Property:
    """One property of ASE's interface.

    Attributes
    ----------
    name : str
        ASE's name.
    unit : str
        ASE's unit.
    shapes : tuple of tuple
        The shapes that calculators return, without the atoms' axis.
    per_atom : bool
        Whether the first axis runs over the atoms.
    extensive : bool
        Whether it grows with the number of atoms, so that deviations are given per atom.
    """

    name: str
    unit: str
    shapes: tuple[tuple[int, ...], ...]
    per_atom: bool = False
    extensive: bool = False

    def has_shape(self, shape: tuple[int, ...], natoms: int) -> bool:
        """Return whether a value of that shape is valid for a structure of `natoms` atoms."""
        if self.per_atom:
            return shape[:1] == (natoms,) and shape[1:] in self.shapes
        return shape in self.shapes


_SCALAR = ((), (1,))
_VOIGT = ((6,), (3, 3))

#: Every property that ASE names, in the order in which tables show them.
PROPERTIES: Mapping[str, Property] = {
    entry.name: entry
    for entry in (
        Property("energy", "eV", _SCALAR, extensive=True),
        Property("free_energy", "eV", _SCALAR, extensive=True),
        Property("energies", "eV", ((),), per_atom=True),
        Property("forces", "eV/Å", ((3,),), per_atom=True),
        Property("stress", "eV/Å³", _VOIGT),
        Property("stresses", "eV/Å³", _VOIGT, per_atom=True),
        Property("dipole", "e·Å", ((3,),)),
        Property("charges", "e", ((),), per_atom=True),
        Property("magmom", "μB", _SCALAR),
        Property("magmoms", "μB", ((), (3,)), per_atom=True),
        Property("dielectric_tensor", "", ((3, 3),)),
        Property("born_effective_charges", "e", ((3, 3),), per_atom=True),
        Property("polarization", "e/Å²", ((3,),)),
    )
}

#: What simulations integrate or follow. An impossible value here would go unnoticed, so these are
#: checked in every reply; i-PI's protocol carries these and no others.
MECHANICAL = ("energy", "free_energy", "forces", "stress")


def unit_of(name: str) -> str:
    """Return the unit of a property; empty for names that ASE does not know."""
    return PROPERTIES[name].unit if name in PROPERTIES else ""


def property_names(properties: Iterable[str]) -> tuple[str, ...]:
    """Return the names as a tuple; a plain string is one name, not its letters."""
    return (properties,) if isinstance(properties, str) else tuple(properties)


def check_results(results: Mapping[str, Any], natoms: int) -> None:
    """Raise if an energy, forces or a stress has a wrong shape or type, or is not finite.

    Parameters
    ----------
    results : mapping
        Value by property name; absent properties are not checked.
    natoms : int
        Number of atoms of the structure.

    Raises
    ------
    ModelError
        Names the property and shows the value.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # in the sums of _is_finite
        for name in MECHANICAL:
            value = results.get(name)
            if type(value) is float and PROPERTIES[name].extensive and math.isfinite(value):
                continue  # an energy as most models return it
            if value is not None:
                _check_result(name, np.asarray(value), natoms)


def _check_result(name: str, array: np.ndarray, natoms: int) -> None:
    if not PROPERTIES[name].has_shape(array.shape, natoms) or array.dtype.kind not in "fiu":
        msg = (
            f"the model returned {name} of shape {array.shape} and type {array.dtype} for "
            f"{natoms} atoms: its calculator is wrong"
        )
        raise ModelError(msg)
    if not _is_finite(array):
        article = "a non-finite" if name != "forces" else "non-finite"
        msg = (
            f"the model returned {article} {name.replace('_', ' ')}: {_describe_bad(array)}. "
            "Check for two atoms at one position, and for a structure far outside of what the "
            "model was trained on"
        )
        raise ModelError(msg)


def _is_finite(array: np.ndarray) -> bool:
    # one pass without a temporary; a sum may overflow although every number is finite
    return math.isfinite(np.add.reduce(array, axis=None)) or bool(np.isfinite(array).all())


def require_properties(results: Mapping[str, Any], properties: Iterable[str]) -> None:
    """Raise if results lack a requested property.

    Raises
    ------
    PropertyMissingError
        Names the missing and the present properties.
    """
    missing = [name for name in properties if name not in results]
    if missing:
        msg = f"the model returned no {', '.join(missing)}; it returned {', '.join(results)}"
        raise PropertyMissingError(msg)


def _describe_bad(array: np.ndarray) -> str:
    bad = ~np.isfinite(array)
    if array.ndim == 2 and len(array) > 3:  # noqa: PLR2004  per atom, not a tensor
        atoms = np.flatnonzero(bad.any(axis=1))
        return f"{array[atoms[0]].tolist()} for atom {atoms[0]}, one of {len(atoms)}"
    return str(array.tolist())
