"""The environment variables of a worker: one list of what is scrubbed, one of what is set."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Optional

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..data import EnvironmentFile
    from ..root import Root

__all__ = ["pin_device", "worker_variables"]

#: Where the caller's Python, conda, modules or debuggers could reach into the worker.
_SCRUBBED = {"LD_LIBRARY_PATH", "LD_PRELOAD", "LD_AUDIT", "VIRTUAL_ENV", "BASH_ENV", "ENV"}
_SCRUBBED_PREFIXES = (
    "PYTHON",
    "CONDA",
    "_CE_",
    "MAMBA_",
    "DYLD_",
    "UV_",
    "PIP_",
    "PYENV_",
    "ROOTSTOCK_",
)

#: What numerical libraries read as their number of threads.
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def worker_variables(
    file: EnvironmentFile,
    root: Optional[Root],
    threads: Optional[int] = None,
    mask: Optional[str] = None,
) -> dict[str, str]:
    """Return the whole environment of a worker.

    Parameters
    ----------
    file : EnvironmentFile
        Its ``[tool.rootstock.variables]`` win over everything but `threads` and `mask`.
    root : Root, optional
        Where caches and HOME go; without one they stay the user's own.
    threads : int, optional
        Number of CPU threads.
    mask : str, optional
        Value for ``CUDA_VISIBLE_DEVICES``.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _SCRUBBED and not name.startswith(_SCRUBBED_PREFIXES)
    }
    if root is not None:
        kept.update(root.cache_variables(os.environ))
    kept.update(_own_variables(file))
    if threads is not None:
        kept.update(dict.fromkeys(_THREADS, str(threads)))
    if mask is not None:
        kept["CUDA_VISIBLE_DEVICES"] = mask
    return kept


def _own_variables(file: EnvironmentFile) -> Mapping[str, str]:
    table = file.settings.get("variables", {})
    if not isinstance(table, dict):
        msg = f"{file.path}: [tool.rootstock.variables] must be a table of strings"
        raise ConfigurationError(msg)
    return {str(name): str(value) for name, value in table.items()}


def pin_device(device: str) -> tuple[str, Optional[str]]:
    """Turn ``"cuda:1"`` into ``"cuda"`` and a mask.

    With a mask the other GPUs do not exist for the worker: model libraries that put something on
    "the first GPU" can't miss. The index counts within a mask that is set already (Slurm's, say).

    Returns
    -------
    device : str
        What ``setup()`` gets.
    mask : str or None
        Value for ``CUDA_VISIBLE_DEVICES``; None leaves it alone.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda" or not index:
        return device, None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        number = int(index)
        mask = str(number) if visible is None else visible.split(",")[number].strip()
    except (ValueError, IndexError):
        msg = f"device={device!r}: there is no such device" + (
            "" if visible is None else f" in CUDA_VISIBLE_DEVICES={visible}"
        )
        raise ConfigurationError(msg) from None
    return kind, mask
