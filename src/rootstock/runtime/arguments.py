"""The calculator's arguments -> a checked recipe."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Optional, Union

import numpy as np

from .. import environments
from ..errors import ConfigurationError, UnknownNameError
from .spec import WorkerSpec
from ..support.suggestions import similar_names, did_you_mean
from ..protocol.values import UntransferableError, encode
from ..settings.root import find_root

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ..support.progress import Progress

__all__ = ["make_recipe", "refuse_keywords"]

_DEVICE = re.compile(r"(auto|cpu|cuda|hip|xpu|mps|tpu)(:\d+)?")


def make_spec(  # noqa: PLR0913  one for each argument of the calculator
    model: Optional[str],
    *,
    root: Optional[Union[str, os.PathLike[str]]],
    cluster: Optional[str],
    environment: Optional[Union[str, os.PathLike[str]]],
    device: str,
    setup_kwargs: Optional[Mapping[str, Any]],
    threads: Optional[int],
    timeout: Optional[float],
    startup_timeout: Optional[float],
    progress: Optional[Progress],
    check_weights: bool = True,
) -> WorkerSpec:
    """Check everything that can be checked without starting anything.

    Parameters are those of :class:`rootstock.RootstockCalculator`, and `check_weights`: whether
    weights that were fetched have to be what they were.

    Raises
    ------
    ConfigurationError, UnknownNameError, EnvironmentFileError, WeightsError
        See there.
    """
    if environment is not None:
        folder = None if root is None and cluster is None else find_root(root, cluster)
        file = environments.resolve_file(Path(environment))
        argument = environments.local_path(model or "")
    else:
        folder = find_root(root, cluster)
        if model is None:
            msg = "give a model, such as RootstockCalculator(model='chgnet')"
            raise ConfigurationError(msg)
        spec, file = environments.resolve(model, folder)
        argument = spec.argument
    environments.warn_if_open(file, folder)
    offline = (
        folder is not None
        and check_weights
        and environments.require_weights(folder, file.name, argument)
    )
    return WorkerSpec(
        text=model or file.name,
        file=file,
        argument=argument,
        root=folder,
        device=_checked_device(device),
        options=_checked_options(setup_kwargs),
        threads=_checked_threads(threads),
        timeout=_checked_seconds("timeout", timeout),
        startup_timeout=_checked_seconds("startup_timeout", startup_timeout),
        progress=progress,
        offline=offline,
    )


#: What the calculator takes, which is what a recipe is made of.
_KEYWORDS = tuple(
    name for name in inspect.signature(make_spec).parameters if name != "check_weights"
)


def refuse_keywords(unknown: Mapping[str, Any]) -> NoReturn:
    """Raise for keyword arguments that RootstockCalculator does not have.

    Raises
    ------
    UnknownNameError
        Always; names the first one, with near misses.
    """
    name = next(iter(unknown))
    similar = similar_names(name, _KEYWORDS)
    msg = (
        f"RootstockCalculator has no argument {name!r}{did_you_mean(similar)} Arguments of the model's "
        f"own setup() go into setup_kwargs={{{name!r}: ...}}."
    )
    raise UnknownNameError(msg, name, similar)


def _checked_device(device: Any) -> str:
    if not isinstance(device, str) or _DEVICE.fullmatch(device) is None:
        msg = f"device={device!r} is no device: use 'auto', 'cpu', 'cuda', 'cuda:1', ..."
        raise ConfigurationError(msg)
    return device


def _checked_options(options: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    checked: dict[Any, Any] = dict(options or {})
    for name, value in checked.items():
        try:
            encode(value)
        except UntransferableError as error:
            msg = f"setup_kwargs[{name!r}] can't be sent to the worker: {error}"
            raise ConfigurationError(msg) from error
        if not isinstance(name, str):
            msg = f"setup_kwargs must have names as keys, not {name!r}"
            raise ConfigurationError(msg)
    return checked


def _checked_threads(threads: Optional[int]) -> Optional[int]:
    if threads is not None and (not isinstance(threads, (int, np.integer)) or threads < 1):
        msg = f"threads={threads!r} must be a whole number from 1 on"
        raise ConfigurationError(msg)
    return None if threads is None else int(threads)


def _checked_seconds(name: str, seconds: Optional[float]) -> Optional[float]:
    if seconds is None:
        return None
    try:
        if float(seconds) > 0:
            return float(seconds)
    except (TypeError, ValueError):
        pass  # refused below
    msg = f"{name}={seconds!r} must be a number of seconds above 0, or None"
    raise ConfigurationError(msg)
