"""Go back to an earlier build, with the environment file and lock that it was made from."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Optional

from ..environments import builds
from ..errors import ConfigurationError
from ..settings.root import writing
from ..support.files import copy_atomically
from .history import BuildEntry, builds_of_layer

if TYPE_CHECKING:
    from ..environments.environment import Environment

__all__ = ["rollback"]


def rollback(environment: Environment, build_id: Optional[str] = None) -> BuildEntry:
    """Make an earlier build the current one and restore its environment file and lock.

    The replaced file and lock are kept in the same folder, as ``NAME_env.py.before-rollback``.

    Parameters
    ----------
    environment : Environment
        The environment.
    build_id : str, optional
        The build id; by default that of the newest build before the current one.

    Raises
    ------
    ConfigurationError
        There is no such build.
    """
    paths = environment.writable
    entry = _choose(environment, builds_of_layer(paths), build_id)
    folder = paths.builds / entry.id
    copies = [(folder / builds.LOCK_COPY, paths.lock)]
    file = environment.file
    if entry.record.requirements != file.requirements_digest and file.origin != "file":
        copies.append((folder / builds.SOURCE_COPY, paths.source))
    with writing(paths.layer.environments), paths.layer.writable_by_group():
        for source, target in copies:
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(target, target.with_name(f"{target.name}.before-rollback"))
            copy_atomically(source, target)
        builds.switch(paths, entry.id)
    return BuildEntry(entry.id, current=True, record=entry.record)


def _choose(
    environment: Environment, entries: list[BuildEntry], build_id: Optional[str]
) -> BuildEntry:
    if build_id is not None:
        chosen = [entry for entry in entries if entry.id == build_id]
        problem = f"{environment.name} has no build {build_id}"
    else:
        current = next((n for n, entry in enumerate(entries) if entry.current), -1)
        chosen = entries[current + 1 : current + 2]
        problem = f"{environment.name} has no older build"
    if not chosen:
        known = ", ".join(entry.id for entry in entries) or "none"
        msg = f"{problem} in {environment.writable.layer.path}; builds there: {known}"
        raise ConfigurationError(msg)
    return chosen[0]
