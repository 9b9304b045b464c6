"""The environment variables of a worker: one list of what is scrubbed, one of what is set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..environments.environment_file import EnvironmentFile
    from ..settings.root import Root

__all__ = ["cache_variables", "pin_device", "worker_variables"]

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

#: Of libraries that look neither at XDG_CACHE_HOME nor below HOME: folder in the root's cache.
_WEIGHT_CACHES = {
    "HF_HOME": "huggingface",
    "CACHED_PATH_CACHE_ROOT": "orb",
    "FAIRCHEM_CACHE_DIR": "fairchem",
    "NEQUIP_CACHE_DIR": "nequip",
    "AIMNET_CACHE_DIR": "aimnet",
    "GRACE_CACHE": "grace",
    "TORCHANI_DATA_DIR": "torchani",
    "TORCH_HOME": "torch",
    "ATOMGPTLAB_CACHE": "atomgptlab",
}
#: What libraries compile or configure for themselves: each user's own, whoever's root it is.
_PRIVATE = {
    "XDG_CONFIG_HOME": "config",
    "MPLCONFIGDIR": "matplotlib",
    "TRITON_CACHE_DIR": "triton",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TORCH_EXTENSIONS_DIR": "torch-extensions",
    "CUDA_CACHE_PATH": "cuda",
    "WARP_CACHE_PATH": "warp",
    "NUMBA_CACHE_DIR": "numba",
    "CUPY_CACHE_DIR": "cupy",
}
#: No library asks a hub for news of what was fetched.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "offline",
}


def worker_variables(
    file: EnvironmentFile,
    root: Optional[Root],
    threads: Optional[int] = None,
    mask: Optional[str] = None,
    *,
    offline: bool = False,
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
    offline : bool
        The weights are there: keep libraries off the network.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _SCRUBBED and not name.startswith(_SCRUBBED_PREFIXES)
    }
    if root is not None:
        kept.update(cache_variables(root, os.environ))
    if offline:
        kept.update(_OFFLINE)
    kept.update(_own_variables(file))
    if threads is not None:
        kept.update(dict.fromkeys(_THREADS, str(threads)))
    if mask is not None:
        kept["CUDA_VISIBLE_DEVICES"] = mask
    return kept


def cache_variables(root: Root, caller: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make weights land in the root and stay there.

    The caller's Hugging Face token is still found: tokens are the user's, caches the root's.

    Parameters
    ----------
    root : Root
        Its layer that is written to.
    caller : mapping
        The caller's own environment variables.
    """
    own, private = root.writable, root.private
    found = {
        "HOME": str(own.home),
        "XDG_CACHE_HOME": str(own.cache),
        "XDG_DATA_HOME": str(own.home / ".local" / "share"),
        **{name: str(own.cache / folder) for name, folder in _WEIGHT_CACHES.items()},
        **{name: str(private / folder) for name, folder in _PRIVATE.items()},
    }
    if "HF_TOKEN" not in caller and "HF_TOKEN_PATH" not in caller:
        theirs = caller.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface")
        token = Path(theirs, "token")
        if token.is_file():
            found["HF_TOKEN_PATH"] = str(token)
    return found


def _own_variables(file: EnvironmentFile) -> Mapping[str, str]:
    table = file.settings.get("variables", {})
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
