"""Weights ahead of time: load a model once with the network, and record what it took."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from typing import TYPE_CHECKING, Any, Optional

from .. import environments
from ..environments.weights import Snapshot, WeightsRecord, write_record
from ..errors import ConfigurationError
from ..runtime.arguments import make_spec
from ..runtime.session import Session
from ..settings.root import maintaining
from ..support.progress import default_progress

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from typing import Union

    from ..support.progress import Progress

__all__ = ["fetch"]


def fetch(
    model: str,
    *,
    root: Optional[Union[str, os.PathLike[str]]] = None,
    cluster: Optional[str] = None,
    device: str = "cpu",
    setup_kwargs: Optional[Mapping[str, Any]] = None,
    progress: Optional[Progress] = None,
) -> WeightsRecord:
    """Download the weights of a model and record them; from then on its worker runs offline.

    Builds the environment if need be. Needs no GPU: the model is loaded on the CPU, once.

    Parameters
    ----------
    model : str
        Model string.
    root, cluster
        As for :class:`rootstock.RootstockCalculator`. Where the root can only be read, weights go
        into the user's overlay.
    device : str
        What to load it on.
    setup_kwargs : mapping, optional
        Further arguments of ``setup()``, where a model can't be loaded without.
    progress : Progress, optional
        Where a build shows how it goes.

    Returns
    -------
    WeightsRecord
        What loading took; no files if the weights ship with a package.

    Raises
    ------
    ConfigurationError, UnknownNameError, BuildError, SetupError
        As for a calculation.
    """
    where = {"root": root, "cluster": cluster}
    spec = _spec(model, device, setup_kwargs, progress, where)
    place = spec.root
    if place is None:  # not without a root= that nobody can give here
        msg = "weights are fetched into a root"
        raise ConfigurationError(msg)
    spec = dataclasses.replace(spec, offline=False, watch=True)
    session = Session(spec)
    with maintaining(place):
        place.create()
        before = Snapshot(place.writable)
        try:
            with _shown(session, model, progress or default_progress()):
                report = session.report()
        finally:
            session.stop()
        files = before.taken(report.opened)
    environment = session.environment
    key = "" if environment is None else environment.key
    return write_record(place, spec.file.name, spec.argument, key, files)


@contextlib.contextmanager
def _shown(session: Session, model: str, progress: Progress) -> Iterator[None]:
    """Show what the worker prints while it loads: that is where downloads say how far they are."""
    done = threading.Event()
    environments.prepare(session.spec.file, session.spec.root, progress)  # shows itself

    def follow() -> None:
        last = ""
        while not done.wait(1.0):
            line = session.log.replace("\r", "\n").rstrip().rpartition("\n")[2].strip()
            if line and line != last:
                progress.line(line)
                last = line

    thread = threading.Thread(target=follow, daemon=True)
    progress.begin(f"loading {model}, downloading its weights if need be")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        progress.end("")


def _spec(
    model: str,
    device: str,
    setup_kwargs: Optional[Mapping[str, Any]],
    progress: Optional[Progress],
    where: dict[str, Any],
) -> Any:
    """Return a recipe even where weights that were fetched are missing: that is what mends them."""
    return make_spec(
        model,
        **where,
        environment=None,
        device=device,
        setup_kwargs=setup_kwargs,
        threads=None,
        timeout=None,
        startup_timeout=None,
        progress=progress,
        check_weights=False,
    )
