"""How to start a worker for a model, in a form that other processes and machines can use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from ..protocol.values import decode, loads

if TYPE_CHECKING:
    from ..environments.environment import Environment
    from ..settings.root import Root

__all__ = ["WorkerSpec"]


@dataclass(frozen=True)
class WorkerSpec:
    """How to start a worker for a model. Pickles, compares, hashes; holds no live object.

    Attributes
    ----------
    model : str
        The model as the user wrote it; for messages.
    environment : Environment
        The environment file, its root and paths.
    argument : str
        The argument ``model`` of ``setup()``.
    device : str
        The requested device: ``"auto"``, ``"cpu"``, ``"cuda:1"``, ...
    options : str
        Further arguments of ``setup()`` as canonical JSON, see :mod:`rootstock.protocol.values`.
    threads : int or None
        CPU threads; None leaves the libraries' own defaults.
    timeout, startup_timeout : float or None
        Seconds for a call and for a start; None waits for ever.
    offline : bool
        The weights were fetched, so that the worker's libraries need no network.
    record_opened_files : bool
        Have the worker report which files in the root's caches loading the model opens: the weights
        of a model that was not fetched.
    build : str or None
        Id of the build that workers use; None until :func:`rootstock.prepare` pins it.
    """

    model: str
    environment: Environment
    argument: str
    device: str = "auto"
    options: str = "{}"
    threads: Optional[int] = None
    timeout: Optional[float] = None
    startup_timeout: Optional[float] = None
    offline: bool = False
    record_opened_files: bool = False
    build: Optional[str] = None

    @property
    def root(self) -> Optional[Root]:
        """The environment's root; None if uv keeps the environment in its own cache."""
        return self.environment.root

    @property
    def setup_options(self) -> dict[str, Any]:
        """Further arguments of ``setup()``."""
        options: dict[str, Any] = decode(loads(self.options.encode(), "options"))
        return options
