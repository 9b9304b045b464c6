"""Fetch weights: load a model once with the network, and record the files that it loads."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from ..environments.weights import Snapshot, WeightsRecord, make_record, write_record
from ..errors import ConfigurationError
from ..runtime.arguments import make_spec, refuse_unknown
from ..runtime.preparation import prepare
from ..runtime.session import Session
from ..support.progress import default_progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Optional

    from typing_extensions import Unpack

    from ..runtime.arguments import CalculatorArguments
    from ..support.progress import Progress

__all__ = ["fetch"]


def fetch(
    model: str, *, progress: Optional[Progress] = None, **arguments: Unpack[CalculatorArguments]
) -> WeightsRecord:
    """Download the weights of a model and record them; from then on its worker runs offline.

    Builds the environment if needed. The model is loaded once, on the CPU by default, so no GPU
    is needed.

    Parameters
    ----------
    model : str
        Model string.
    progress : Progress, optional
        Shows the progress of a build and of the download.
    **arguments
        Those of :class:`rootstock.RootstockCalculator`, but `device` is ``"cpu"`` and
        `startup_timeout` None by default. For a root that the user can only read, weights go into
        the user layer.

    Returns
    -------
    WeightsRecord
        The files that the model loads; none if the weights ship with a package.

    Raises
    ------
    ConfigurationError, UnknownNameError, BuildError, SetupError
        As for a calculation.
    """
    refuse_unknown(arguments)  # make_spec has an argument of its own
    given: CalculatorArguments = {"device": "cpu", "startup_timeout": None, **arguments}
    spec = make_spec(model, check_weights=False, **given)  # a changed file is what fetch replaces
    if spec.root is None:
        msg = "weights are fetched into a root: give root=... beside environment=..."
        raise ConfigurationError(msg)
    root = spec.root
    progress = progress or default_progress()
    root.create()
    before = Snapshot(root.writable)  # links to a shared root's weights, too, count as loaded
    spec = prepare(replace(spec, record_opened_files=True), progress=progress)
    session = Session(spec)
    try:
        with _following_log(session, model, progress):
            report = session.report()
    finally:
        session.close()
    files = before.taken(report.opened)
    record = make_record(spec.environment.name, spec.argument, spec.build or "", files)
    write_record(root, record)
    return record


@contextlib.contextmanager
def _following_log(session: Session, model: str, progress: Progress) -> Iterator[None]:
    """Show the worker's last line once a second: downloads report their progress there."""
    done = threading.Event()

    def follow() -> None:
        last = ""
        while not done.wait(1.0):
            line = session.log.replace("\r", "\n").rstrip().rpartition("\n")[2].strip()
            if line and line != last:
                progress.line(line)
                last = line

    thread = threading.Thread(target=follow, daemon=True)
    with progress.task(f"loading {model}, downloading its weights if needed"):
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
