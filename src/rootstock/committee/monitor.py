"""Watching the disagreement of a committee in dynamics and relaxations."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Union

from ase.io import write

from ..errors import ConfigurationError, DisagreementError
from ..evaluation.result import with_results

if TYPE_CHECKING:
    import os

    from ase import Atoms

__all__ = ["DisagreementMonitor"]

_ACTIONS = ("stop", "warn", "write")


class DisagreementMonitor:
    """Acts when the members of a committee disagree about the forces.

    Parameters
    ----------
    atoms : Atoms
        Its calculator is a committee.
    threshold : float
        Limit of ``forces_std_max``, in eV/Å. Common limits for training are 0.05 to 0.3.
    action : str
        ``"stop"`` raises, ``"warn"`` warns, ``"write"`` appends the structure to `path`.
    path : path-like, optional
        An extended XYZ file; also written before ``"stop"`` if given.

    Attributes
    ----------
    exceeded : int
        How often the limit was exceeded.

    Examples
    --------
    >>> dynamics.attach(DisagreementMonitor(atoms, 0.3), interval=1)  # doctest: +SKIP
    """

    def __init__(
        self,
        atoms: Atoms,
        threshold: float,
        action: str = "stop",
        path: Optional[Union[str, os.PathLike[str]]] = None,
    ) -> None:
        if action not in _ACTIONS:
            msg = f"action={action!r} must be one of {', '.join(_ACTIONS)}"
            raise ConfigurationError(msg)
        if not threshold > 0:
            msg = f"threshold={threshold!r} must be a positive number of eV/Å"
            raise ConfigurationError(msg)
        if action == "write" and path is None:
            msg = "action='write' needs path, an extended XYZ file"
            raise ConfigurationError(msg)
        self.exceeded = 0
        self._atoms, self._threshold, self._action = atoms, threshold, action
        self._path = None if path is None else Path(path)

    def __call__(self) -> None:
        """Check the current structure; called by ASE's dynamics and optimizers.

        Raises
        ------
        DisagreementError
            The limit is exceeded and the action is ``"stop"``.
        ConfigurationError
            The calculator is no committee.
        """
        calc = self._atoms.calc
        self._atoms.get_forces()
        results = getattr(calc, "results", {})
        if "forces_std_max" not in results:
            msg = "these atoms need a committee as their calculator: theirs has no forces_std_max"
            raise ConfigurationError(msg)
        largest = results["forces_std_max"]
        if largest <= self._threshold:
            return
        self.exceeded += 1
        if self._path is not None:
            write(self._path, with_results(self._atoms, results), format="extxyz", append=True)
        atom = int(results["forces_std"].argmax())
        msg = (
            f"the members of the committee disagree by {largest:.3g} eV/Å about the force on atom "
            f"{atom} (limit {self._threshold:g})"
        )
        if self._action == "stop":
            raise DisagreementError(msg + ": the structure may be unlike their training data")
        if self._action == "warn":
            warnings.warn(msg, RuntimeWarning, stacklevel=2)
