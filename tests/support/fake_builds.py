"""Builds that cost nothing: their interpreter is the one that runs the tests."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from rootstock.environments.builds import Build, BuildRecord, interpreter, read_build, switch
from rootstock.environments.discovery import find_environment
from rootstock.settings.root import Root

#: Passes on to the tests' Python, so that workers and scripts run in such a build.
_INTERPRETER = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'


def add_fake_build(
    environment, build_id: str, *, lock: str = "", current: bool = False, days: float = 0
) -> Build:
    """Make a complete build, `days` old, in the writable layer of an environment's root."""
    paths = environment.writable
    folder = paths.builds / build_id
    python = interpreter(folder)
    python.parent.mkdir(parents=True)
    python.write_text(_INTERPRETER)
    python.chmod(0o755)
    record = BuildRecord(build_id, environment.file.requirements_digest, lock)
    (folder / "rootstock.json").write_text(record.text())
    then = time.time() - days * 86_400
    os.utime(folder, (then, then))
    build = switch(paths, build_id) if current else read_build(folder)
    assert build is not None
    return build


def root_with_fake_build(folder: Path, name: str, text: str) -> Root:
    """Make a root with one environment, whose build is a fake; its user can only read it.

    The build is not current for the environment's file: where the user could write, it would be
    built again.
    """
    root = Root(folder / "root")
    root.create()
    (root.writable.environments / f"{name}_env.py").write_text(text)
    add_fake_build(find_environment(name, root), "build", current=True)
    return Root(root.path, user_layer=folder / "user layer")
