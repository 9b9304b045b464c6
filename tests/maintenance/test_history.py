"""Going back to an older environment, and names that do not exist."""

from __future__ import annotations

import pytest

from rootstock import find_root
from rootstock.environments.build import prepare_environment
from rootstock.environments.discovery import find_environment
from rootstock.errors import RootError, UnknownNameError
from rootstock.maintenance.fetch import fetch
from rootstock.maintenance.initialise import initialise_root
from rootstock.maintenance.rollback import rollback
from rootstock.maintenance.status import status
from tests.support.builds import QUIET
from tests.support.command_line import as_json, run
from tests.support.environment_files import add_to_root

pytestmark = pytest.mark.model


def test_history_and_rollback(root, monkeypatch):
    old = prepare_environment(add_to_root(root, dependencies='"six==1.16.0"'), QUIET)
    text, lock = (
        (root.writable.environments / "my_env.py").read_text(),
        old.environment.writable.lock.read_text(),
    )
    assert [h.state for h in status(root) if h.name == "my"] == ["ready"]
    file = add_to_root(root, dependencies='"six==1.17.0"')
    (health,) = [h for h in status(root) if h.name == "my"]
    assert (health.state, health.fix) == ("stale", "rootstock install my")
    new = prepare_environment(file, QUIET)
    builds = as_json("history", "my", "--root", root.path)["builds"]
    assert [(entry["id"], entry["current"]) for entry in builds] == [
        (new.build.id, True),
        (old.build.id, False),
    ]
    monkeypatch.setattr("rootstock.environments.build.Uv", None)  # any use would raise
    assert as_json("rollback", "my", "--root", root.path) == {"name": "my", "build": old.build.id}
    assert (root.writable.environments / "my_env.py").read_text() == text
    assert old.environment.writable.lock.read_text() == lock
    assert prepare_environment(find_environment("my", root), QUIET).build.id == old.build.id
    assert [h.state for h in status(root) if h.name == "my"] == ["ready"]
    result = run("rollback", "my", "--root", root.path)
    assert result.exit_code == 2 and "no older build" in result.stderr
    rollback(find_environment("my", root), new.build.id)
    assert prepare_environment(find_environment("my", root), QUIET).build.id == new.build.id


def test_unknown_names(root):
    for command in ("show", "history", "rollback", "uninstall", "lock", "pack"):
        result = run(command, "chgnett", "--root", root.path)
        assert result.exit_code == 2 and "chgnet" in result.stderr, command
    with pytest.raises(UnknownNameError):
        fetch("chgnett", root=root)
    with pytest.raises(RootError):
        initialise_root(find_root("/proc/nowhere"))
