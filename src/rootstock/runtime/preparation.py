"""What a worker needs on disk, done once: the build, pinned for this process."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Optional, Union

from ..environments.build import prepare_environment
from ..environments.discovery import read_again
from ..environments.pins import pin_for_process
from ..errors import ConfigurationError
from .arguments import make_spec, refuse_unknown
from .spec import WorkerSpec

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..support.progress import Progress
    from .arguments import CalculatorArguments

__all__ = ["prepare"]


def prepare(
    model: Union[str, WorkerSpec],
    progress: Optional[Progress] = None,
    **arguments: Unpack[CalculatorArguments],
) -> WorkerSpec:
    """Build a model's environment if needed; return a spec that is pinned to that build.

    The environment file is read again if it changed since the spec was made. ``rootstock gc``
    spares the build until this process ends.

    Parameters
    ----------
    model : str or WorkerSpec
        Model string, with the calculator's `arguments`; or a spec, which takes none and is
        returned unchanged if it is pinned already.
    progress : Progress, optional
        Shows the progress of a build; by default chosen to suit stderr.
    **arguments
        Those of :class:`rootstock.RootstockCalculator`.

    Raises
    ------
    BuildError, RootError
        The environment could not be built.
    ConfigurationError, UnknownNameError, EnvironmentFileError, WeightsError
        As for the calculator.
    """
    if not isinstance(model, WorkerSpec):
        refuse_unknown(arguments)  # make_spec has a further argument, check_weights
        spec = make_spec(model, **arguments)
    elif arguments:
        msg = f"a WorkerSpec can't be changed by {', '.join(arguments)}: use dataclasses.replace"
        raise ConfigurationError(msg)
    else:
        spec = model
    if spec.build is None:
        built = prepare_environment(read_again(spec.environment), progress)
        spec = replace(spec, environment=built.environment, build=built.build.id)
    pin_for_process(spec.environment, spec.build or "")
    return spec
