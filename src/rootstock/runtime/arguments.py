"""The calculator's arguments: listed once, checked, and turned into a :class:`WorkerSpec`."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Optional, TypedDict, Union

import numpy as np

from ..environments.discovery import environment_from_file
from ..environments.environment_file import check_settings
from ..environments.model_strings import absolute_path, resolve
from ..environments.permissions import warn_if_world_writable
from ..environments.weights import require_weights
from ..errors import ConfigurationError, UnknownArgumentError
from ..protocol.values import UntransferableError, dumps, encode
from ..settings.root import Root, find_root
from ..support.suggestions import did_you_mean, similar_names
from .spec import WorkerSpec

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from typing_extensions import Unpack

    from ..environments.environment import Environment

__all__ = [
    "DEFAULTS",
    "CalculatorArguments",
    "checked_device",
    "make_spec",
    "refuse_arguments",
    "refuse_unknown",
    "signature",
]

_DEVICE = re.compile(r"(auto|cpu|cuda|hip|xpu|mps|tpu)(:\d+)?")


class CalculatorArguments(TypedDict, total=False):
    """Keyword arguments of :class:`rootstock.RootstockCalculator`, which documents them."""

    checkpoint: Optional[str]
    root: Optional[Union[str, os.PathLike[str], Root]]
    cluster: Optional[str]
    environment: Optional[Union[str, os.PathLike[str]]]
    device: str
    setup_kwargs: Optional[Mapping[str, Any]]
    threads: Optional[int]
    timeout: Optional[float]
    startup_timeout: Optional[float]


#: Defaults that are not None. Importing a model from a busy parallel file system can take minutes.
DEFAULTS: dict[str, Any] = {"device": "auto", "startup_timeout": 1800.0}


def signature() -> inspect.Signature:
    """Return the calculator's signature, for ``help()`` and completion."""
    names = CalculatorArguments.__annotations__
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature(
        [
            inspect.Parameter("model", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None),
            *(inspect.Parameter(name, keyword, default=DEFAULTS.get(name)) for name in names),
            inspect.Parameter("progress", keyword, default=None),
        ]
    )


def make_spec(
    model: Optional[str], *, check_weights: bool = True, **arguments: Unpack[CalculatorArguments]
) -> WorkerSpec:
    """Return the spec for these arguments, after all checks that need no process.

    Parameters
    ----------
    model : str or None
        Model string.
    check_weights : bool
        Whether recorded weights have to be present and unchanged.
    **arguments
        Those of :class:`rootstock.RootstockCalculator`.

    Raises
    ------
    ConfigurationError, UnknownNameError, EnvironmentFileError, WeightsError
        As documented there.
    """
    refuse_unknown(arguments)
    given: dict[str, Any] = {**DEFAULTS, **arguments}
    model = _model(model, given.get("checkpoint"))
    environment, argument = _resolve(model, given)
    check_settings(environment.file, strict=False)
    warn_if_world_writable(environment)
    offline = (
        check_weights
        and environment.root is not None
        and require_weights(environment.root, environment.name, argument)
    )
    return WorkerSpec(
        model=model or environment.name,
        environment=environment,
        argument=argument,
        device=checked_device(given["device"]),
        options=_checked_options(given.get("setup_kwargs")),
        threads=_checked_threads(given.get("threads")),
        timeout=_checked_seconds("timeout", given.get("timeout")),
        startup_timeout=_checked_seconds("startup_timeout", given["startup_timeout"]),
        offline=offline,
        record_opened_files=environment.root is not None and not offline,
    )


def _model(model: Optional[str], checkpoint: Optional[str]) -> Optional[str]:
    """Return the model string; ``checkpoint`` is a synonym of ``model``."""
    if model is not None and checkpoint is not None:
        msg = f"model={model!r} and checkpoint={checkpoint!r} are synonyms: give one of them"
        raise ConfigurationError(msg)
    return checkpoint if model is None else model


def _resolve(model: Optional[str], given: dict[str, Any]) -> tuple[Environment, str]:
    root, cluster, path = (given.get(name) for name in ("root", "cluster", "environment"))
    if path is not None:
        folder = None if root is None and cluster is None else find_root(root, cluster)
        return environment_from_file(Path(path), folder), absolute_path(model or "")
    folder = find_root(root, cluster)
    if model is None:
        msg = "give a model, such as RootstockCalculator(model='chgnet')"
        raise ConfigurationError(msg)
    return resolve(model, folder)


def refuse_unknown(names: Iterable[str]) -> None:
    """Raise if one of these is not the name of a keyword argument of the calculator.

    Raises
    ------
    UnknownArgumentError
        Names the first unknown argument, with suggestions.
    """
    for name in names:
        if name not in CalculatorArguments.__annotations__:
            refuse_arguments(name)


def refuse_arguments(name: str) -> NoReturn:
    """Raise for a keyword argument that RootstockCalculator does not have.

    Raises
    ------
    UnknownArgumentError
        Always; suggests similar names.
    """
    similar = similar_names(name, ["model", "progress", *CalculatorArguments.__annotations__])
    msg = (
        f"RootstockCalculator has no argument {name!r}{did_you_mean(similar)} Arguments of the "
        f"model's own setup() go into setup_kwargs={{{name!r}: ...}}."
    )
    raise UnknownArgumentError(msg, name, similar)


def checked_device(device: Any) -> str:
    """Return a device's name; raise :class:`ConfigurationError` if it is not one."""
    if not isinstance(device, str) or _DEVICE.fullmatch(device) is None:
        msg = f"invalid device {device!r}: use 'auto', 'cpu', 'cuda', 'cuda:1', ..."
        raise ConfigurationError(msg)
    return device


def _checked_options(options: Optional[Mapping[str, Any]]) -> str:
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
    return dumps(encode(checked)).decode()


def _checked_threads(threads: Optional[int]) -> Optional[int]:
    if threads is not None and (not isinstance(threads, (int, np.integer)) or threads < 1):
        msg = f"threads={threads!r} must be a positive integer"
        raise ConfigurationError(msg)
    return None if threads is None else int(threads)


def _checked_seconds(name: str, seconds: Optional[float]) -> Optional[float]:
    if seconds is None:
        return None
    try:
        valid = float(seconds) > 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        msg = f"{name}={seconds!r} must be a positive number of seconds, or None"
        raise ConfigurationError(msg)
    return float(seconds)
