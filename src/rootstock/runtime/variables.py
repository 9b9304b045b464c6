"""The environment variables of a worker: which are removed, which are set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..settings.root import Root
    from .spec import WorkerSpec

__all__ = ["THREAD_COUNTS", "cache_variables", "pin_device", "worker_variables"]

#: Variables by which the caller's Python, conda, modules or debuggers reach a process.
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

#: Variables from which numerical libraries read their number of threads.
THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)

#: Variables of libraries that ignore XDG_CACHE_HOME and HOME, and the folder in the cache.
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
#: Compiled kernels and settings of libraries: each user's own, for every root.
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
#: Keep libraries from asking a hub about weights that were fetched.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "offline",
}


def worker_variables(spec: WorkerSpec, mask: Optional[str] = None) -> dict[str, str]:
    """Return the whole environment of a worker.

    Variables in the file's ``[tool.rootstock.variables]`` override all others except those that
    the spec's ``threads`` and `mask` set.

    Parameters
    ----------
    spec : WorkerSpec
        Its root decides where caches and HOME are; without one they stay the user's own.
    mask : str, optional
        Value for ``CUDA_VISIBLE_DEVICES``.
    """
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in _SCRUBBED and not name.startswith(_SCRUBBED_PREFIXES)
    }
    if spec.root is not None:
        variables.update(cache_variables(spec.root, os.environ))
    if spec.offline:
        variables.update(_OFFLINE)
    own = spec.environment.file.settings.get("variables", {})
    variables.update({str(name): str(value) for name, value in own.items()})
    if spec.threads is not None:
        variables.update(dict.fromkeys(THREAD_COUNTS, str(spec.threads)))
    if mask is not None:
        variables["CUDA_VISIBLE_DEVICES"] = mask
    return variables


def cache_variables(root: Root, caller: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep weights in the root.

    Workers still use the caller's Hugging Face token, which belongs to the user, not to the root.

    Parameters
    ----------
    root : Root
        The root, whose writable layer holds the caches.
    caller : mapping
        The caller's own environment variables.
    """
    layer, private = root.writable, root.private
    variables = {
        "HOME": str(layer.home),
        "XDG_CACHE_HOME": str(layer.cache),
        "XDG_DATA_HOME": str(layer.home / ".local" / "share"),
        **{name: str(layer.cache / folder) for name, folder in _WEIGHT_CACHES.items()},
        **{name: str(private / folder) for name, folder in _PRIVATE.items()},
    }
    if "HF_TOKEN" not in caller and "HF_TOKEN_PATH" not in caller:
        folder = caller.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface")
        token = Path(folder, "token")
        if token.is_file():
            variables["HF_TOKEN_PATH"] = str(token)
    return variables


def pin_device(device: str) -> tuple[str, Optional[str]]:
    """Turn ``"cuda:1"`` into ``"cuda"`` and a mask.

    The mask hides the other GPUs from the worker, so that model libraries that use "the first GPU"
    use the right one. The index counts within a mask that is already set, for example by Slurm.

    Returns
    -------
    device : str
        The device for ``setup()``.
    mask : str or None
        Value for ``CUDA_VISIBLE_DEVICES``; None leaves the variable as it is.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda" or not index:
        return device, None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        number = int(index)
        mask = str(number) if visible is None else visible.split(",")[number].strip()
    except (ValueError, IndexError):
        in_mask = "" if visible is None else f" in CUDA_VISIBLE_DEVICES={visible}"
        msg = f"invalid device {device!r}: there is no such device{in_mask}"
        raise ConfigurationError(msg) from None
    return kind, mask
